"""Between the sources and the graph: what is valid stays, what changed is written, and not too often.

ingest     a raw object becomes a value; a refused one keeps its last valid value; of two copies one wins
foreign    kinds that are none of a mesh's business, and those that are not read yet
copies     one object at all its places, and what is said of those that are not valid
last_valid what guards something stays in force over a restart, a move, a file that cannot be read
problems   everything that users did wrong, by place
debounce   writes become batches; a batch is one revision of the graph
"""
