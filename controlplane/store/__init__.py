"""Between the sources and the graph: what is valid stays, what changed is written, and not too often.

ingest     a raw object becomes a value; a refused one keeps its last valid value; of two copies one wins
foreign    kinds that are none of a mesh's business, and those that are not read yet
problems   everything that users did wrong, by place
debounce   writes become batches; a batch is one revision of the graph
"""
