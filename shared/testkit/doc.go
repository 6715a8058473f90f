// Package testkit is what tests share; no program contains it.
//
//   - golden.go, manifest.go: the fixtures computed by the reference, and what
//     their manifest says about sizes, tensors and optimizer settings;
//   - close.go: comparison relative to a tensor's largest value;
//   - milvus*.go, nats*.go: real servers, one a test process;
//   - videos.go: videos as long as the challenge's;
//   - layering_test.go: the dependency table of the suite.
//
// GOLDEN_DIR names another set of fixtures. No test knows a size or a value of
// its own:
//
//	m := testkit.ReadManifest(t)
//	width := m.Sizes.Int(t, "bert_hidden")
//	weights := testkit.Fixture(t, "videonet.safetensors").Under("weights/")
//	testkit.Close(t, "logits", got, want.Float32s(), 1e-5)
package testkit
