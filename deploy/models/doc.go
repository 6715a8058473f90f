// Package models holds what operators do with the models' collections in
// Milvus: promote one, go back, rebuild one.
package models
