"""What MIREX fixes: lists in, predictions out, names and labels as the evaluator reads them."""
