// Command indexer keeps a Milvus collection in step with the stream EMBEDDINGS.
package main
