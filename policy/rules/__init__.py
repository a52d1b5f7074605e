"""The rules, a file per subject: each question's function yields every objection with its rule and its sentence."""
