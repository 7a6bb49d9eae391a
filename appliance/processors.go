package main

import (
	"os"
	"runtime"

	"github.com/fincart/courier-gateway/jetstream"
)

// processors is how many the Go runtime found that this process may use.
var processors = runtime.GOMAXPROCS(0)

// addProcessor lets Go run one thread more than there are processors, where a group
// flush is all but always under way.
//
// A thread that waits in a system call keeps its turn to run Go until the runtime's
// monitor takes it away, some 0.1 ms later, and then has to wait for another one.
// With two processors and a flush of 0.3 ms every millisecond, that leaves one of
// them idle for a tenth of the time, and each flush ends late. One thread more than
// processors makes up for it, and the kernel runs first who has waited. What it is
// worth stands in docs/decisions/0006-group-flush.md.
//
// GOMAXPROCS in the environment says otherwise. The runtime does not follow later
// changes of a container's limit any more.
func addProcessor(cfg jetstream.Config) {
	if os.Getenv("GOMAXPROCS") == "" && cfg.Mode == jetstream.ModeEmbedded && cfg.Sync == jetstream.SyncGroup {
		runtime.GOMAXPROCS(processors + 1)
	}
}
