package embedder

import (
	"fmt"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/prometheus/procfs"

	"videosim/shared/errs"
	"videosim/shared/torch"
)

const (
	// shareOfMemory is what the process may take where no limit is set: the rest
	// is the system's, which keeps files in it.
	shareOfMemory = 0.9
	// cachesBytes is what oneDNN and ideep fill with code after the start.
	cachesBytes = 100 << 20
	// inlineBytes is the most that an event with its frames takes in memory.
	inlineBytes = 512 << 10
)

// limitMemory bounds what forward passes may take, once the model is loaded, and
// returns that bound in bytes. Up to memory-limit, what the process does not hold
// yet belongs to them, but for what slots and caches may still take. A batch that
// needs more fails alone, with the error that has the batcher halve it; without
// the bound the system would kill the process.
func limitMemory(cfg Settings) (passes uint64, err error) {
	limit := cfg.MemoryLimit
	if limit == 0 {
		whole, err := availableMemory()
		if err != nil {
			return 0, fmt.Errorf("find out how much memory there is (memory-limit would say): %w", err)
		}
		limit = uint64(shareOfMemory * float64(whole))
	}
	held, err := residentBytes()
	if err != nil {
		return 0, err
	}
	promised := held + cachesBytes + cfg.slotBytes()
	if promised >= limit {
		return 0, errs.Field("memory-limit", "expected more than %d MiB (%d for the loaded model, %d for bulk-slots, interactive-slots and caches), found %d MiB",
			promised>>20, held>>20, (promised-held)>>20, limit>>20)
	}
	torch.LimitMemory(torch.Memory() + limit - promised)
	return limit - promised, nil
}

// slotBytes is the most that videos at work hold, twice for the collector, which
// lets a heap double.
func (s Settings) slotBytes() uint64 {
	each := inlineBytes
	if len(s.Ref.Allow) > 0 {
		each = max(each, s.Ref.MaxBytes)
	}
	return 2 * uint64(each) * uint64(s.BulkSlots+s.InteractiveSlots)
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

// residentBytes is the memory of this process that lies in RAM.
func residentBytes() (uint64, error) {
	self, err := procfs.Self()
	if err != nil {
		return 0, err
	}
	stat, err := self.Stat()
	if err != nil {
		return 0, err
	}
	return uint64(stat.ResidentMemory()), nil
}
