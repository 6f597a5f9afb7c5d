"""What a graph is: model, typed values, the emitter that appends nodes, the tape, facts of tensors.

Imports errors.
"""
