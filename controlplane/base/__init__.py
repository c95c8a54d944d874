"""The ground floor: clocks, the exception tree and the protobuf wire format.  Imports nothing of ours."""
