"""The words by which answers are stated, in English and the languages with the most speakers.

Chinese, Hindi, Spanish, French, Arabic, Bengali, Portuguese, Russian, German and Japanese. All entries are parts of
regular expressions for texts in lower case; a space in them is any short blank.
"""

from __future__ import annotations

YES = frozenset(
    ("yes yeah yep sí si oui sim ja evet да はい ええ うん 是 是的 对 對 对的 有 可以 हाँ हां जी نعم أجل হ্যাঁ হ্যা হাঁ").split()
)
NO = frozenset(
    (
        "no nope non não nao nein nem hayır нет いいえ いや 不 不是 否 否定 没有 沒有 不对 不對 不可以 नहीं नही لا كلا না"
    ).split()
)

LABELS = (
    r"(?:final|correct|right|best|short|my|the|our|your) (?:answer|choice|option)",
    r"answer",
    r"respuesta(?: final| correcta)?",
    r"(?:bonne )?réponse(?: finale| correcte| exacte)?",
    r"resposta(?: final| correta| certa)?",
    r"(?:endgültige |richtige |korrekte |finale )?antwort",
    r"(?:окончательный |правильный |верный |итоговый )?ответ",
    r"(?:الإجابة|الجواب|الاجابة|إجابة)(?: النهائية| الصحيحة| النهائي| الصحيح)?",
    r"(?:最终|最終|正确|正確|参考|標準|标准)?(?:的)?(?:答案|选项|選項)",
    r"(?:最終的な|正しい|最終)?(?:答え|正解|解答|回答|選択肢)",
    r"(?:सही |अंतिम |मेरा )?(?:उत्तर|जवाब)",
    r"(?:সঠিক |চূড়ান্ত |আমার )?উত্তর",
)
"""What an answer is called at the beginning of a line, before a colon."""

STATEMENTS = (
    (
        r"(?:final|correct|right|best|the|my|our) (?:final |correct |right |best )?(?:answer|choice|option)(?: here)?"
        r"(?: is(?: therefore| thus| then| simply)?(?: option| choice| answer)?| =|:)"
    ),
    r"la (?:respuesta|opción|alternativa)(?: final| correcta)?(?: es|:)(?: la| el)?(?: opción| letra)?",
    (
        r"la (?:bonne |meilleure )?(?:réponse|option)(?: finale| correcte| exacte)?(?: est|:)(?: donc)?"
        r"(?: l['’]option| la(?= [a-h]\b))?"
    ),
    (
        r"a (?:resposta|opção|alternativa)(?: final| correta| certa)?(?: é|:)"
        r"(?: a(?= (?:opção|letra|alternativa|[a-h]\b)))?(?: opção| letra| alternativa)?"
    ),
    r"die (?:endgültige |richtige |korrekte |finale )?(?:antwort|option)(?: ist| lautet|:)(?: also)?(?: option)?",
    r"richtig ist(?: die)? (?:antwort|option)",
    r"(?:окончательный |правильный |верный |итоговый )(?:ответ|вариант) ?(?: -| –| —|:| это)",
    r"(?:الإجابة|الجواب|الاجابة|الخيار)(?: النهائية| الصحيحة| النهائي| الصحيح)? ?(?:هي|هو|:)(?: الخيار)?",
    r"(?:最终|最終|正确|正確|标准|標準)?(?:的)?(?:答案|选项|選項) ?(?:是|为|為|:|:)(?:选项|選項)?",
    r"(?:最終的な|正しい|最終)?(?:答え|正解|解答|回答|選択肢) ?(?:は|:|:)",
    r"(?:सही |अंतिम )(?:उत्तर|जवाब|विकल्प)(?: है)? ?:?(?: ?विकल्प)?",
    r"(?:उत्तर|जवाब)(?= [-\w(]{1,20} है)",
    r"(?:(?:সঠিক|চূড়ান্ত) )?(?:উত্তর|বিকল্প) (?:হলো|হল|হচ্ছে|হবে) ?:?(?: বিকল্প)?",
)
"""Phrases that state an answer inside a sentence, before the answer."""

RESULTS = (
    (
        r"(?:the|our|this|a|its) (?:final |total |numerical )?"
        r"(?:result|solution|total|sum|product|value|probability|root)(?: is| equals| =|:)"
    ),
    r"el (?:resultado|total|valor)(?: final| total)?(?: es|:)",
    r"la (?:solución|suma|probabilidad)(?: final| total)?(?: es|:)",
    r"le (?:résultat|total)(?: final)?(?: est|:)(?: donc)?",
    r"la (?:solution|somme|valeur|probabilité)(?: est|:)(?: donc)?",
    r"o (?:resultado|total|valor)(?: final)?(?: é|:)",
    r"(?:das ergebnis|die lösung|die summe|der wert)(?: ist| lautet| beträgt|:)(?: also)?",
    r"(?:результат|итог|сумма)(?: -| –| —|:| равен| равна)",
    r"(?:结果|結果|总和|总数) ?(?:是|为|為|:)",
    r"(?:合計|結果) ?(?:は|:)",
    r"(?:النتيجة|الناتج|المجموع) ?(?:هي|هو|:)",
    r"(?:परिणाम|योग)(?: है)? ?:",
    r"(?:ফলাফল|যোগফল) (?:হলো|হল|:)",
)
"""Phrases that state a result. They are common in other texts too, so only a number or a formula counts after them."""

REVERSED = (
    r"(?:(?:is|would be) (?:the|our|my) (?:final |correct |right |best )?(?:answer|solution|choice|option)"
    r"|es la (?:respuesta|opción)|est la (?:bonne |meilleure )?(?:réponse|option)|é a (?:resposta|opção|alternativa)"
    r"|ist die (?:richtige |korrekte )?(?:antwort|lösung)|(?:-|–|—|это) (?:правильный|верный) (?:ответ|вариант)"
    r"|هي (?:الإجابة|الجواب)|هو (?:الجواب|الخيار الصحيح)|是(?:正确|正確)(?:答案|选项|選項)|が(?:正解|答え|正しい答え))"
)
"""Phrases that state an answer, behind the answer: "B is the correct answer"."""

CONNECTORS = r"(?:and|or|y|o|e|et|ou|und|oder|и|или|و|أو|和|或|と)"
"""Words between the parts of an answer."""

OPTIONS = (
    r"(?:option|choice|answer|choose|select|pick|going with|go with|opción|alternativa|elijo|choisis|opção|escolho"
    r"|wähle|antwort|вариант|выбираю|الخيار|أختار|विकल्प|বিকল্প)"
)
"""Words before the letter of a choice."""

CONCLUSIONS = (
    r"(?:so|thus|hence|therefore|consequently|in total|altogether|we (?:get|find|obtain)|por lo tanto|por tanto|así que"
    r"|luego|entonces|donc|ainsi|par conséquent|portanto|logo|assim|also|daher|somit|folglich|следовательно|значит|итак"
    r"|поэтому|إذن|إذاً|لذلك|所以|因此|故|因而|从而|よって|したがって|ゆえに|अतः|इसलिए|সুতরাং|অতএব|তাই)"
)
"""Words that begin a conclusion."""

COPULAS = (
    r"(?:is|are|was|equals|there are|need|get|have|es|son|est|sont|font|é|são|ist|sind|beträgt|lautet|ergibt"
    r"|равна|равен|равно|составляет|هو|هي|يساوي|是|为|為|等于|有|は|が|=)"
)
"""Words between a conclusion's subject and its value."""

LEADS = (
    r"(?:it is|it['’]s|it was|that is(?: by)?|that was|this is|by|i say|i think|i think it is|i choose|i would choose"
    r"|es ist|es war|das ist|das war|von|es|fue|c['’]est|ce sont|c['’]était|foi|é|это был|это была|это)"
)
"""The beginning of a short reply, before the answer."""

SUBJECTS = r"(?:the|his|her|its|their|el|la|los|las|le|les|l['’]|o|a|os|as|der|die|das)"
"""Articles that begin the subject of a short sentence such as "The capital of Peru is Lima"."""

ENDS = r"(?:です|になります|となります|でした|である|だ|है|हैं|होगा|होगी|হয়|হবে)"
"""Verbs that follow an answer."""

NO_ANSWERS = frozenset(
    (
        "not that to in as of still unknown simple easy complicated complex unclear below above here there obvious "
        "it they we you i if depends depende dépend both how what why when where which who because unfortunately "
        "sorry maybe perhaps please see check try let note yet always never often sometimes probably likely quite "
        "very straightforward no lo que qui nicht não 不知道 不清楚 зависит неизвестно"
    ).split()
)
"""Words that begin no short answer."""
