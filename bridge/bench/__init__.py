"""`qwil bench`: what qwil costs, as ratios to a peer or to a floor measured in the same run.

A ratio says the same on a fast machine and on a slow one. Both sides take turns and the median and the spread of the
turns are told. Nothing here is a test, and no test looks at a time.
"""
