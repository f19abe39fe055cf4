"""Compare the texts of models: equal answers, similar texts, two clusters, scores."""
