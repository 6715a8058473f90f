# The two commands of the README are `make demo` and `make test`. Each runs
# deploy/setup.sh first, which takes a fraction of a second when nothing is missing.

GO        ?= go
PURE      := indexer gateway
CGO       := trainer embedder
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: demo test build bench bench-gateway bench-index bench-embed bench-train bench-query bench-path soak check check-python race proto setup clean conformance

demo: build ## the main job from nothing; serves until interrupted
	bin/videosim demo --log-level warn $(DEMO_FLAGS)

test: setup ## everything that decides whether a change may land
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) build -o /dev/null ./indexer/...
	CGO_ENABLED=0 $(GO) build -o /dev/null ./gateway/...
	$(GO) test -timeout 20m ./...

build: setup ## all five programs into bin/
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -o bin/ $(foreach s,$(PURE),./$(s)/cmd/$(s))
	$(GO) build -o bin/ $(foreach s,$(CGO),./$(s)/cmd/$(s)) ./deploy/cmd/videosim

bench: setup ## speed of the index, the gateway and the models, each beside what it is compared with
	$(GO) test -run '^$$' -bench . -skip 'AgainstPython|Precisions' ./shared/vecdb ./gateway ./shared/model ./shared/torch

bench-embed: setup ## full-size embeddings a second, in turns with plain Python PyTorch, and the cosines of each precision; needs 10 GB of memory; BENCH_DEVICE=cuda: on a GPU
	deploy/setup.sh python
	$(GO) test -run '^$$' -bench 'AgainstPython|Precisions' -benchtime 1x -timeout 30m -v ./shared/model

soak: setup ## 100,000 spoiled requests to the gateway; Milvus killed again and again; the trainer's memory with 10,000 and 100,000 videos; the embedder's over 20 minutes
	VIDEOSIM_SOAK=100000 $(GO) test -count=1 -timeout 30m -run TestSoak ./gateway
	SOAK_ROUNDS=20 $(GO) test -timeout 60m -run TestMilvusOutage -v ./deploy/models
	$(GO) test -count=1 -timeout 60m -tags soak -run 'TestSoakMemory$$' -v ./trainer
	$(GO) test -count=1 -timeout 30m -tags soak -run TestSoakEmbedderMemory -v ./deploy/e2e

bench-index: setup ## the exact index at 1,000,000 rows on one core, its memory, and its refill from the stream
	BENCH_ROWS=1000000 $(GO) test -timeout 30m -run '^$$' -bench Exact -benchtime 100x -cpu 1 ./shared/vecdb
	BENCH_ROWS=1000000 $(GO) test -timeout 30m -run '^$$' -bench Replay -benchtime 1x ./indexer

bench-gateway: setup ## queries through the gateway in turns with the bare Milvus SDK, 50,000 rows, 8 clients; pairs from Milvus
	$(GO) test -run '^$$' -bench BesideMilvus -benchtime 1x -timeout 20m ./gateway $(BENCH_FLAGS)

bench-query: setup ## latency of queries beside a full stream, through the whole service; BENCH_PRESET=base takes 6 GB of memory
	$(GO) test -run '^$$' -bench QueryUnderLoad -benchtime 30s -timeout 10m ./embedder

bench-path: setup ## videos/s through NATS and the embedder with a model that takes no time, beside what tiny and base eat; 6 GB of memory
	$(GO) test -run '^$$' -bench 'Path$$' -benchtime 1x -timeout 10m ./embedder

bench-train: setup ## a step of each stage beside plain PyTorch (5 GB, installed first); an epoch with and without cached towers
	deploy/setup.sh python
	$(GO) test -run '^$$' -bench 'TrainingStep|LateEpoch' -benchtime 1x -timeout 60m ./trainer $(BENCH_FLAGS)

conformance: setup ## schemathesis asks a gateway whatever openapi.json allows and forbids
	@[ -x .deps/schemathesis/bin/schemathesis ] || { python3 -m venv .deps/schemathesis && .deps/schemathesis/bin/pip install -q schemathesis; }
	VIDEOSIM_SCHEMATHESIS=$(CURDIR)/.deps/schemathesis/bin/python3 $(GO) test -tags conformance -count=1 -run TestConformance ./gateway

check: setup ## linters, the race detector, known vulnerabilities
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) run $(STATICCHECK) ./...
	$(MAKE) race
	$(GO) run $(GOVULNCHECK) ./...

check-python: setup ## what only Python can judge: TensorBoard's files, SciPy's Spearman
	deploy/setup.sh python
	$(GO) test -count=1 -tags python -run 'TensorBoard|SciPy' ./trainer ./shared/eval

race: setup ## the race detector on everything but the engine
	$(GO) test -race -timeout 40m $$($(GO) list ./... | grep -v -e '/shared/torch$$')

proto: ## the generated code of the wire contract; needs protoc and protoc-gen-go
	cd shared/event && protoc --go_out=. --go_opt=paths=source_relative videosim.proto

setup:
	@deploy/setup.sh

clean:
	rm -rf bin demo
