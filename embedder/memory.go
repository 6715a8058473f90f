package embedder

import (
	"fmt"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/prometheus/procfs"

	"videosim/shared/errs"
	"videosim/shared/event"
	"videosim/shared/torch"
	"videosim/shared/video"
)

const (
	// shareOfMemory is what the process may take where no limit is set: the rest
	// is the system's, which keeps files in it.
	shareOfMemory = 0.9
	// cachesBytes is what oneDNN and ideep fill with code after the start.
	cachesBytes = 100 << 20
	// programBytes is what of the mapped files, programs and libraries, is in use.
	programBytes = 100 << 20
	// textBytes is the most text of a video.
	textBytes = event.MaxTitleBytes + event.MaxSpeechBytes
)

// limitMemory bounds what forward passes may take, once the model is loaded, and
// returns the limit on the process and that bound, in bytes. Up to the limit, what
// the process does not hold yet belongs to them, but for what slots and caches may
// still take. A batch that needs more fails alone, with the error that has the batcher
// halve it; without the bound the system would kill the process.
func limitMemory(cfg Settings, shape video.CollateConfig) (limit, passes uint64, err error) {
	limit = cfg.MemoryLimit
	if limit == 0 {
		whole, err := availableMemory()
		if err != nil {
			return 0, 0, fmt.Errorf("find out how much memory there is (memory-limit would say): %w", err)
		}
		limit = uint64(shareOfMemory * float64(whole))
	}
	torch.TrimMemory() // what a training before in this process has left is free
	held, err := heldBytes()
	if err != nil {
		return 0, 0, err
	}
	promised := held + cachesBytes + cfg.slotBytes(shape)
	if promised >= limit {
		return 0, 0, errs.Field("memory-limit", "expected more than %d MiB (%d for the loaded model, %d for bulk-slots, interactive-slots, ref-parallel times ref-max-bytes, and caches), found %d MiB",
			promised>>20, held>>20, (promised-held)>>20, limit>>20)
	}
	torch.LimitMemory(torch.Memory() + limit - promised)
	return limit, limit - promised, nil
}

// slotBytes is what videos at work hold: texts, and as many frames as the model reads, in
// 16 bits, thrice (message, event and row); and frames as large as ref-max-bytes says in
// each fetch. All twice, for the collector, which lets a heap double. An event may bring
// more frames, up to 0.5 MiB inline, and seldom does: the tenth of the memory that is left
// alone by default is for such, too.
func (s Settings) slotBytes(shape video.CollateConfig) uint64 {
	all := (s.BulkSlots + s.InteractiveSlots) * (textBytes + 3*2*shape.Frames*shape.FrameDim)
	if len(s.Ref.Allow) > 0 {
		all += s.Ref.Parallel * s.Ref.MaxBytes
	}
	return 2 * uint64(all)
}

// availableMemory is the container's limit, or without one the machine's memory.
func availableMemory() (uint64, error) {
	machine, err := memlimit.FromSystem()
	if err != nil {
		return 0, err
	}
	container, err := memlimit.FromCgroup()
	if err != nil { // not in a container, or in one without a limit
		return machine, nil
	}
	return min(container, machine), nil
}

// heldBytes is the memory of this process that nobody can take back: not the pages of
// files, such as libtorch's 280 MiB of code, of which the kernel keeps what is in use.
func heldBytes() (uint64, error) {
	self, err := procfs.Self()
	if err != nil {
		return 0, err
	}
	status, err := self.NewStatus()
	if err != nil {
		return 0, err
	}
	return status.RssAnon + programBytes, nil
}
