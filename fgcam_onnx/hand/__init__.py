"""Pictures in, answers out: the explainer and the model as people hold them.

Imports cam, errors, explainer, explanation, feeding, graph, heads, imaging, loading, preparing, ranking, report,
surgery and targets.
"""
