"""The formats of MIREX: lists, predictions, and names and labels as the evaluator reads them."""
