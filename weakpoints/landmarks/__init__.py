"""Named points: landmarks marked on a few photographs, found on every other of their class.

One module a stage, as `finder.find` calls them: descriptors, matching (by transport and votes),
consensus, clues, and then confidence. The trace of one forward pass is all that they read.
"""
