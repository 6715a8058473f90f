// Package models holds what operators do with the models' collections in
// Milvus, while the suite serves:
//
//	promote.go   Promote: the gates, then the alias moves; and the way back
//	gates.go     what must hold before a model is promoted
//	compare.go   the stream's embeddings against the collection's rows
//	quality.go   Spearman of two models on the same labelled pairs
//	rebuild.go   Rebuild: fill a collection again from EMBEDDINGS, or embed again from VIDEOS
//
// Every command may be killed at any point and run again: what it has to
// remember is a note in NATS, written before the step that it is about.
package models
