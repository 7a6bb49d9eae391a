package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/persistence/sqlite"
)

// Events that wait when their queue is damaged, and the record that is damaged.
const (
	damagedEvents = 2000
	damagedRecord = 1025 // its sequence
)

// damage is one place of the queue's files damaged while no process runs.
type damage struct {
	name string
	do   func(t *testing.T, stream string) // stream is the directory of EVENTS
	// How many events are lost after a clean stop, and after kill -9.
	stopped, killed int
}

// damages are the classes of damage, with what this nats-server loses to each. It
// cuts a block off at the first record that it can't read when it has to read all of
// it, as after kill -9, and leaves out the record alone otherwise.
var damages = []damage{
	{"a payload bit", onRecord(func(block []byte, at int) { block[at+120] ^= 1 }), 1, 976},
	{"a length byte", onRecord(func(block []byte, at int) { block[at] ^= 1 }), 976, 976},
	{"a sequence byte", onRecord(func(block []byte, at int) { block[at+4] ^= 0x80 }), 129, 976}, // hides the 128 behind it, too
	{"4 KiB zeroed in the middle", onRecord(func(block []byte, at int) { clear(block[at : at+4096]) }), 976, 976},
	{"the first 4 KiB zeroed", onBlock(func(block []byte) []byte { clear(block[:4096]); return block }), 2000, 2000},
	{"the last record", onBlock(func(block []byte) []byte { block[len(block)-20] ^= 1; return block }), 1, 1},
	{"the file cut by 100 bytes", onBlock(func(block []byte) []byte { return block[:len(block)-100] }), 1, 1},
	{"the block emptied", onBlock(func([]byte) []byte { return nil }), 2000, 2000},
	{"the block deleted", removed("msgs/1.blk"), 2000, 2000},
	{"the stream deleted", removed("."), 2000, 2000},
	{"index.db deleted", removed("msgs/index.db"), 0, 0},
	{"index.db flipped", onFile("msgs/index.db", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), 0, 0},
	{"o.dat deleted", removed("obs/processors/o.dat"), 0, 0},
	{"o.dat emptied", onFile("obs/processors/o.dat", func([]byte) []byte { return nil }), 0, 0},
	{"o.dat zeroed", onFile("obs/processors/o.dat", func(b []byte) []byte { clear(b); return b }), 0, 0},
	{"the consumer's meta.inf deleted", removed("obs/processors/meta.inf"), 0, 0},
}

func removed(name string) func(*testing.T, string) {
	return func(t *testing.T, stream string) {
		if err := os.RemoveAll(filepath.Join(stream, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// onFile changes a file, if there is one: a killed server has not written each yet.
func onFile(name string, change func([]byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, stream string) {
		path := filepath.Join(stream, name)
		content, err := os.ReadFile(path)
		if os.IsNotExist(err) || err == nil && len(content) == 0 {
			return
		}
		if err == nil {
			err = os.WriteFile(path, change(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func onBlock(change func([]byte) []byte) func(*testing.T, string) {
	return onFile("msgs/1.blk", change)
}

// onRecord changes the block of the record to be damaged, which begins at a place.
func onRecord(change func(block []byte, at int)) func(*testing.T, string) {
	return onBlock(func(block []byte) []byte {
		at := 0
		for range damagedRecord - 1 {
			at += int(binary.LittleEndian.Uint32(block[at:]) &^ (1 << 31)) // the length, and a bit for headers
		}
		change(block, at)
		return block
	})
}

// TestDamageIsNamedExactly damages one place of a queue on which events wait, in
// every class there is, after a clean stop and after kill -9. What has no outcome
// afterwards is what the list of losses names, and no other.
func TestDamageIsNamedExactly(t *testing.T) {
	if !*drills {
		t.Skip("-drills is not set")
	}
	images := map[string]string{"stopped": t.TempDir(), "killed": t.TempDir()}
	keys := waitingEvents(t, images["stopped"], images["killed"])
	sequences := sequencesOf(t, images["stopped"], keys)
	for _, d := range damages {
		for image, want := range map[string]int{"stopped": d.stopped, "killed": d.killed} {
			t.Run(d.name+", "+image, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(images[image])); err != nil {
					t.Fatal(err)
				}
				d.do(t, filepath.Join(dir, "jetstream/jetstream/$G/streams/EVENTS"))
				c := spawn(t, dir)
				named := lossesAfterAll(c, len(keys))
				postsOne(c, dir, "after-the-damage")
				acknowledgesAll(c, len(named) > 0)
				c.ends()
				lost := withoutOutcome(t, dir, sequences)
				if !slices.Equal(named, lost) {
					t.Errorf("named lost: %s\nlost: %s", shortList(named), shortList(lost))
				}
				t.Logf("%d lost and named", len(lost))
				if len(lost) != want {
					t.Errorf("%d lost, want %d", len(lost), want)
				}
			})
		}
	}
}

// waitingEvents leaves events waiting in the data directories stopped and killed,
// whose processes have ended like that, and returns their keys.
func waitingEvents(t *testing.T, stopped, killed string) (keys []string) {
	t.Helper()
	c := spawn(t, killed, storeShut+"=1")
	scheme := demoScheme(t, killed)
	var wg sync.WaitGroup
	for w := range 16 {
		for i := w; i < damagedEvents; i += 16 {
			keys = append(keys, fmt.Sprintf("damage-%d", i))
		}
		wg.Go(func() {
			for i := w; i < damagedEvents; i += 16 {
				got, err := post(c.public, scheme, eventBody(fmt.Sprintf("damage-%d", i), fmt.Sprintf("shp-%d", i%100), "in_transit", time.Now()))
				if err != nil || !got.Acknowledged {
					t.Errorf("posting event %d: %+v, %v", i, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	c.killed()
	if err := os.CopyFS(stopped, os.DirFS(killed)); err != nil {
		t.Fatal(err)
	}
	spawn(t, stopped, storeShut+"=1").ends()
	return keys
}

// ledgerRows returns the ledger rows of events in a data directory that is not in use.
func ledgerRows(t *testing.T, dir string, keys []string) []event.Record {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{
		Path: filepath.Join(dir, "store.db"), Readers: 1, CacheBytes: 1 << 20, BusyTimeout: time.Second, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ids := make([]event.Identity, len(keys))
	for i, key := range keys {
		ids[i] = event.Identity{Courier: config.DemoCourier, Key: key}
	}
	rows, err := store.Ledger.Records(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// sequencesOf returns the place of each event in the queue, by processing a copy.
func sequencesOf(t *testing.T, image string, keys []string) map[string]uint64 {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(image)); err != nil {
		t.Fatal(err)
	}
	c := spawn(t, dir)
	if named := lossesAfterAll(c, len(keys)); len(named) > 0 {
		t.Errorf("an undamaged queue has lost %v", named)
	}
	c.ends()
	places := map[string]uint64{}
	for _, r := range ledgerRows(t, dir, keys) {
		places[r.Key] = r.Sequence
	}
	if len(places) != len(keys) {
		t.Fatalf("%d of %d events are in the ledger of an undamaged queue", len(places), len(keys))
	}
	return places
}

// withoutOutcome returns the sequences of the events that the ledger does not have
// as processed.
func withoutOutcome(t *testing.T, dir string, sequences map[string]uint64) (lost []uint64) {
	t.Helper()
	left := map[string]uint64{}
	keys := make([]string, 0, len(sequences))
	for key, seq := range sequences {
		left[key] = seq
		keys = append(keys, key)
	}
	for _, r := range ledgerRows(t, dir, keys) {
		if r.Status == event.Processed {
			delete(left, r.Key)
		}
	}
	for _, seq := range left {
		lost = append(lost, seq)
	}
	slices.Sort(lost)
	return lost
}

// losses asks what the queue has lost.
func lossesOf(c *child) []loss.Loss {
	c.t.Helper()
	var list struct {
		Losses []loss.Loss `json:"losses"`
	}
	if out := c.cli("queue", "losses", "--json"); json.Unmarshal(out, &list) != nil {
		c.t.Fatalf("queue losses: %s", out)
	}
	return list.Losses
}

// lossesAfterAll waits until each of n events has its outcome or is named as lost,
// and returns those that are.
func lossesAfterAll(c *child, n int) (named []uint64) {
	c.t.Helper()
	within(c.t, 2*time.Minute, "each event to be processed or named as lost", func() bool {
		named = named[:0]
		unchecked := uint64(0)
		for _, l := range lossesOf(c) {
			unchecked += l.Unchecked
			for _, r := range l.Sequences {
				for seq := r.First; seq <= r.Last; seq++ {
					named = append(named, seq)
				}
			}
		}
		records, _ := c.counts()
		return unchecked == 0 && int(records[event.Processed])+len(named) >= n
	})
	slices.Sort(named)
	return named
}

// postsOne posts an event and waits until it is processed.
func postsOne(c *child, dir, key string) {
	c.t.Helper()
	got, err := post(c.public, demoScheme(c.t, dir), eventBody(key, "shp-after", "in_transit", time.Now()))
	if err != nil || !got.Acknowledged || got.Duplicate {
		c.t.Fatalf("posting an event: %+v, %v", got, err)
	}
	eventually(c.t, "an event to be processed", func() bool { return c.processed(key) })
}

// acknowledgesAll expects the health to be degraded by losses, or not to be, and to be
// healthy once they are acknowledged.
func acknowledgesAll(c *child, lossy bool) {
	c.t.Helper()
	status := func() string {
		var health struct{ Status string }
		c.get("/health", &health)
		return health.Status
	}
	want := map[bool]string{true: "degraded", false: "healthy"}[lossy]
	eventually(c.t, "the health to be "+want, func() bool { return status() == want })
	c.cli("queue", "acknowledge-loss", "--all", "--yes", "--note", "drilled")
	eventually(c.t, "the health to be healthy", func() bool { return status() == "healthy" })
}

// shortList shows the first of a list.
func shortList(seqs []uint64) string {
	return fmt.Sprintf("%d, %v", len(seqs), seqs[:min(len(seqs), 10)])
}
