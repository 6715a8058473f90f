// Package vecdb keeps embeddings and finds the nearest ones.
package vecdb
