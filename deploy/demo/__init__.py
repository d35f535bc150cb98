"""The main job on real films: a PACS, a RIS and a node on free ports, from C-STORE to the draft comparison."""
