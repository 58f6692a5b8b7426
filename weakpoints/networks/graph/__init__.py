"""A classifier as data, in the order of its way.

sources    a module of torchvision or timm by its name
export     a module becomes a graph: torch.export reads it once
graph      what a graph is, and which operations it may have; dtypes: which floats are its own
adding     a graph, its weights and its labels become files and an entry; files: read and written
chain      a graph and its tensors become a network: shapes (checked), folding (simplified), tables
           (read as layers; reading: single operations), segment (what no layer is like)
flatten    the other way: layers become a graph, for the windows of any network
"""
