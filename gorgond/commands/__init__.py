"""The tools beside the roles: each command that is no role has its file here, imported only when it is called."""
