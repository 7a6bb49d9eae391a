package sqlite

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
)

// Config says how to open the embedded store.
type Config struct {
	// Path of the file, which is made when it does not exist. Its directory must
	// exist. Two more files are beside it while it is open (-wal, -shm).
	Path string
	// Readers is how many of the operators' reads run at the same time; at least 1.
	Readers int
	// CacheBytes bounds the pages that the main connection keeps in memory. Memory
	// taken is about twice that, once the file is as large.
	CacheBytes int64
	// BusyTimeout is how long to wait for another program that has locked the
	// file, such as a shell that was left open in a transaction.
	BusyTimeout time.Duration
	// Reopen tries to open a file again until that works, instead of failing [Open],
	// and checks the file for damage after each opening.
	Reopen     bool
	Retention  persistence.Retention
	Log        *slog.Logger          // may be nil
	Registerer prometheus.Registerer // may be nil
}

func (c Config) check() error {
	var faults event.Faults
	faults.Check(c.Path != "", "Path", "is empty")
	faults.Check(c.Readers >= 1, "Readers", "is %d, must be at least 1", c.Readers)
	faults.Check(c.CacheBytes >= 1<<20, "CacheBytes", "is %d, must be at least 1 MiB", c.CacheBytes)
	faults.Check(c.BusyTimeout > 0, "BusyTimeout", "is %s, must be more than 0", c.BusyTimeout)
	c.Retention.Check(&faults)
	return faults.Err()
}

// DefaultConfig returns the settings of a store that the appliance needs, but for its
// Path and its Retention.
func DefaultConfig() Config {
	return Config{Readers: 4, CacheBytes: 16 << 20, BusyTimeout: 5 * time.Second, Reopen: true}
}
