package embedder

import (
	"fmt"
	"time"

	"videosim/shared/bus"
	"videosim/shared/errs"
	"videosim/shared/event"
)

// Config of the embedder. Every field is a flag, a key of the config file and
// an environment variable of the same name.
type Config struct {
	Bundle   string `help:"Folder of the bundle to embed with." placeholder:"DIR" type:"path"`
	Settings `embed:""`
	NATS     bus.Config `embed:"" prefix:"nats-"`
}

// Settings are those of the embedder alone; the all-in-one program has them too.
type Settings struct {
	Device    string `help:"Where the models run: cpu, cuda, or auto (cuda where there is one)." default:"auto" enum:"auto,cpu,cuda"`
	Precision string `help:"Arithmetic of the models: fp32, bf16, int8 (products of 8-bit integers: half as fast again as bf16, on CPUs with avx512_vnni and avx512_bf16; it rounds trained weights more, so compare trainer evaluate --precision int8 with fp32 on your labels first), or auto (bf16 where the hardware has it, else fp32)." default:"auto" enum:"auto,fp32,bf16,int8"`
	Threads   int    `help:"Threads of the tensor engine; 0: one a core." default:"0"`

	MemoryLimit uint64 `help:"Most memory, in bytes, that the process may take on a CPU; a batch that would take it beyond is halved. 0: nine tenths of the container's limit, else of the machine's memory. What other services of the same process need is not in it. On a GPU the card's memory is the limit." default:"0"`

	BatchVideos int `help:"Most videos in one batch. More pays on a GPU; a CPU gains nothing." default:"32"`
	BatchTokens int `help:"Most tokens and frames in one batch; a full-size video has at most 128. It bounds the memory of a forward pass." default:"4096"`

	BatchTarget time.Duration `help:"Time that one batch should take at most: what follows a slow batch is made smaller. On a GPU a query waits for at most one batch of the stream, on a CPU for a ninth of one. Smaller batches use a CPU less well; 0: no bound." default:"1s"`

	BulkSlots        int           `help:"Events of the stream taken on at once, from their decoding to their acknowledgement (at most 1024). Each may hold its event in memory, 0.5 MiB with frames inline; frames by reference only until what the model reads of them is copied." default:"128"`
	InteractiveSlots int           `help:"Videos of requests taken on at once; a request that would exceed it is refused as overloaded." default:"64"`
	AckWait          time.Duration `help:"Silence after which NATS gives an event to another embedder. Events at work are kept alive by themselves, so this is only the time to notice a dead process." default:"30s"`
	MaxDeliver       int           `help:"Deliveries after which an event that fails for an unknown reason becomes a dead letter." default:"5"`
	StoreTimeout     time.Duration `help:"How long storing one embedding is retried before its event goes back to the stream." default:"30s"`
	CanaryInterval   time.Duration `help:"Quiet time after which the device is checked with a video of its own." default:"15s"`

	Ref RefConfig `embed:"" prefix:"ref-"`
}

// RefConfig says which frames by reference are fetched, and how.
type RefConfig struct {
	Allow    []string      `help:"Addresses under which events may name their frames: objectstore:BUCKET, https://HOST/PATH, file:///DIR. None: frames must be inline." placeholder:"ADDRESS"`
	MaxBytes int           `help:"Largest frames fetched by reference, in bytes. 32 frames of 1,536 numbers are 98,304 bytes in half precision." default:"2097152"`
	Timeout  time.Duration `help:"Longest time for one fetch, the wait for its turn included." default:"20s"`
	Parallel int           `help:"Fetches at once; from one host, bucket or the file system at most half of them." default:"16"`
}

// maxBulkSlots bounds the events in memory; NATS would let one consumer hold any number.
const maxBulkSlots = 1024

// Validate returns an Invalid error that names the first field at fault.
func (c Config) Validate() error {
	if c.Bundle == "" {
		return errs.Field("bundle", "expected the folder of a bundle, found none; trainer train makes one")
	}
	for _, f := range []struct {
		name       string
		value, max int
	}{
		{"batch-videos", c.BatchVideos, 4096},
		{"batch-tokens", c.BatchTokens, 1 << 20},
		{"bulk-slots", c.BulkSlots, maxBulkSlots},
		{"interactive-slots", c.InteractiveSlots, 1 << 16},
		{"max-deliver", c.MaxDeliver, 1000},
		{"ref-parallel", c.Ref.Parallel, 1024},
		{"ref-max-bytes", c.Ref.MaxBytes, event.MaxReferencedBytes},
	} {
		if f.value < 1 || f.value > f.max {
			return errs.Field(f.name, "expected 1 to %d, found %d", f.max, f.value)
		}
	}
	if c.Threads < 0 {
		return errs.Field("threads", "expected 0 or more, found %d", c.Threads)
	}
	if err := c.validateTimes(); err != nil {
		return err
	}
	if err := c.NATS.Validate(); err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	return nil
}

func (c Config) validateTimes() error {
	if c.BatchTarget < 0 {
		return errs.Field("batch-target", "expected 0 or more, found %s", c.BatchTarget)
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{
		{"ack-wait", c.AckWait},
		{"store-timeout", c.StoreTimeout},
		{"canary-interval", c.CanaryInterval},
		{"ref-timeout", c.Ref.Timeout},
	} {
		if f.value < time.Millisecond {
			return errs.Field(f.name, "expected at least 1ms, found %s", f.value)
		}
	}
	return nil
}
