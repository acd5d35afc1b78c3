"""`gorgond copy`: a store moved from one database to another while the fabric runs.

command       what it is called with
copying       the documents of one made those of the other, and held to be so
running       what the fabric has to do with it: changes of meanwhile, the pause at the end
"""
