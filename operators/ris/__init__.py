"""What the RIS tells the node: HL7 v2 messages that come in over MLLP."""
