package jetstream

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/jetstream/embedded"
)

// Where the embedded server and package embedded put their files.
const (
	stateFile = "o.dat"
	asideDir  = "damaged"
)

// TestDamagedConsumerState starts on what a power cut leaves between the renaming of a
// consumer's state file and the writing of its content, and on files that can't be
// decoded, which are kept for an operator.
func TestDamagedConsumerState(t *testing.T) {
	t.Parallel()
	for name, state := range map[string]func(was []byte) []byte{
		"zeros": func(was []byte) []byte { return make([]byte, len(was)) },
		"empty": func([]byte) []byte { return nil },
		"magic": func(was []byte) []byte { return flipped(was, 0) },
		"cut":   func(was []byte) []byte { return was[:len(was)-1] },
		"more":  func(was []byte) []byte { return append(slices.Clone(was), 0) },
		"one entry too many": func(was []byte) []byte {
			return flipped(was, 6) // how many are pending, behind the magic and four small positions
		},
		"more entries than there is memory": func(was []byte) []byte {
			return slices.Concat(was[:6], bytes.Repeat([]byte{0xff}, 6), []byte{0x3f, 0, 0, 0, 0})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t)
			b := open(t, cfg)
			publishN(t, b, 10)
			settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 7)...)
			settled(t, b, 10, 7)
			if err := b.Verified(t.Context(), 5); err != nil {
				t.Fatal(err)
			}
			closeBroker(t, b)
			paths, err := filepath.Glob(filepath.Join(cfg.StoreDir, "jetstream", "*/streams/*", "obs/*", stateFile))
			if err != nil || !slices.ContainsFunc(paths, func(path string) bool { return filepath.Base(filepath.Dir(path)) == processors }) {
				t.Fatalf("the consumers' states are %v, %v", paths, err)
			}
			damaged := map[string][]byte{}
			for _, path := range paths {
				was, err := os.ReadFile(path)
				if err != nil || len(was) == 0 || bytes.Equal(was, make([]byte, len(was))) {
					t.Fatalf("the consumer's state is %v, %v", was, err)
				}
				damaged[path] = state(was)
				if err := os.WriteFile(path, damaged[path], 0o600); err != nil {
					t.Fatal(err)
				}
			}

			b = open(t, cfg)
			for path, content := range damaged {
				if len(bytes.Trim(content, "\x00")) == 0 {
					continue // there is nothing to keep
				}
				consumer := filepath.Dir(path)
				name := filepath.Base(filepath.Dir(filepath.Dir(consumer))) + "-" + filepath.Base(consumer) + "-" + stateFile
				if kept, err := os.ReadFile(filepath.Join(cfg.StoreDir, asideDir, name)); err != nil || !bytes.Equal(kept, content) {
					t.Errorf("%s was set aside as % x, %v", name, kept, err)
				}
			}
			publish(t, b, envelope("11"))
			var got []uint64
			ds := pullN(t, b, 6)
			for _, d := range ds {
				got = append(got, d.Sequence)
			}
			if want := []uint64{6, 7, 8, 9, 10, 11}; !slices.Equal(got, want) {
				t.Errorf("delivered %v, want what was not verified: %v", got, want)
			}
			settle(t, b, event.Verdict{Action: event.Ack}, ds...)
			if got, want := settled(t, b, 10, 6), []uint64{6, 7, 8, 9, 10, 11}; !slices.Equal(got, want) {
				t.Errorf("settled %v, want %v", got, want)
			}
		})
	}
}

// flipped returns b with one bit of a byte flipped.
func flipped(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

// damage rewrites a file of a closed store.
func damage(t *testing.T, path string, how func(was []byte) []byte) {
	t.Helper()
	was, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, how(was), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// copied returns cfg on copies of its directories.
func copied(t *testing.T, cfg Config) Config {
	t.Helper()
	dir := t.TempDir()
	for name, of := range map[string]*string{"store": &cfg.StoreDir, "state": &cfg.StateDir} {
		to := filepath.Join(dir, name)
		if err := os.CopyFS(to, os.DirFS(*of)); err != nil {
			t.Fatal(err)
		}
		*of = to
	}
	return cfg
}

// processedStore closes a broker that has 10 events, of which 7 are settled and 5
// verified, and returns its configuration and the directory of its streams.
func processedStore(t *testing.T) (cfg Config, streams string) {
	t.Helper()
	cfg = testConfig(t)
	b := open(t, cfg)
	publishN(t, b, 10)
	settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 7)...)
	settled(t, b, 10, 7)
	for seq := range uint64(5) {
		if err := b.Verified(t.Context(), seq+1); err != nil {
			t.Fatal(err)
		}
	}
	closeBroker(t, b)
	return cfg, filepath.Join(cfg.StoreDir, "jetstream", "$G", "streams")
}

// goesOn checks that a store opened after damage has lost nothing: what is not
// settled is delivered, new events too, and all of them can be verified.
func goesOn(t *testing.T, cfg Config, deps Deps, deliveredFrom uint64) {
	t.Helper()
	deps.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	b := openWith(t, cfg, deps)
	if r := publish(t, b, envelope("3")); !r.Duplicate || r.Sequence != 3 {
		t.Errorf("a copy of the third event: %+v", r)
	}
	publish(t, b, envelope("11"))
	var got, want []uint64
	for seq := deliveredFrom; seq <= 11; seq++ {
		want = append(want, seq)
	}
	ds := pullN(t, b, len(want))
	for _, d := range ds {
		got = append(got, d.Sequence)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
	settle(t, b, event.Verdict{Action: event.Ack}, ds...)
	floorReaches(t, b, 11)
	var last string
	defer func() { t.Log("verifying ended with", last) }()
	eventually(t, "all is verified", func() bool {
		ds, err := b.PullSettled(t.Context(), 100)
		if err == nil && len(ds) > 0 {
			err = b.Verified(t.Context(), ds[len(ds)-1].Sequence)
		}
		s, stateErr := b.State(t.Context())
		last = fmt.Sprintf("%d pulled, %v, %+v", len(ds), errors.Join(err, stateErr), s)
		return errors.Join(err, stateErr) == nil && s.Verified == 11
	})
	if v, err := b.progress.verifiedUpTo(t.Context()); err != nil || v != 11 || b.progress.noPosition.Load() {
		t.Errorf("the broker holds position %d, none at all: %v, %v", v, b.progress.noPosition.Load(), err)
	}
	if n := count(t, deps, "restarts_total"); n != 0 {
		t.Errorf("the broker was restarted %v times, and intake shut meanwhile", n)
	}
	if s, err := b.State(t.Context()); err != nil || !s.Healthy || len(s.Problems) > 0 || len(b.Losses()) > 0 {
		t.Errorf("state %+v, losses %+v, %v", s, b.Losses(), err)
	}
}

// TestDamagedConsumerDefinition: what can be made again from the configuration is, and
// the consumer's position stays. The server takes a member of the definition that it
// does not know for a sign of a newer version, and stops all of the stream.
func TestDamagedConsumerDefinition(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]func(t *testing.T, dir string){
		"unknown member": func(t *testing.T, dir string) {
			damage(t, filepath.Join(dir, server.JetStreamMetaFile), func(was []byte) []byte {
				return bytes.Replace(was, []byte(`"ack_wait"`), []byte(`"ack_vait"`), 1)
			})
		},
		"another value": func(t *testing.T, dir string) {
			damage(t, filepath.Join(dir, server.JetStreamMetaFile), func(was []byte) []byte {
				return bytes.Replace(was, []byte(`"explicit"`), []byte(`"exqlicit"`), 1)
			})
		},
		"empty": func(t *testing.T, dir string) {
			damage(t, filepath.Join(dir, server.JetStreamMetaFile), func([]byte) []byte { return nil })
		},
		"checksum": func(t *testing.T, dir string) {
			damage(t, filepath.Join(dir, server.JetStreamMetaFileSum), func(was []byte) []byte { return flipped(was, 3) })
		},
		"no checksum": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, server.JetStreamMetaFileSum)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, streams := processedStore(t)
			dirs := []string{filepath.Join(streams, eventsStream, "obs", processors), filepath.Join(streams, advisoriesStream, "obs", deadLetters)}
			for _, dir := range dirs {
				how(t, dir)
			}
			goesOn(t, cfg, testDeps(), 8)
			for i, name := range []string{eventsStream + "/" + processors, advisoriesStream + "/" + deadLetters} {
				if err := embedded.CheckDefinition(dirs[i], name); err != nil {
					t.Errorf("made again: %v", err)
				}
			}
		})
	}
}

// TestDamagedStreamDefinition: the streams that can be derived are made again.
func TestDamagedStreamDefinition(t *testing.T) {
	t.Parallel()
	for _, stream := range derived {
		for _, file := range []string{server.JetStreamMetaFile, server.JetStreamMetaFileSum} {
			t.Run(stream+" "+file, func(t *testing.T) {
				t.Parallel()
				cfg, streams := processedStore(t)
				damage(t, filepath.Join(streams, stream, file), func(was []byte) []byte { return flipped(was, len(was)/2) })
				began := time.Now()
				goesOn(t, cfg, testDeps(), 8)
				t.Logf("took %v", time.Since(began))
				if _, err := os.Stat(filepath.Join(cfg.StoreDir, asideDir, stream, file)); err != nil {
					t.Errorf("the damaged stream was not kept: %v", err)
				}
			})
		}
	}
}

// TestDamagedDefinitionOfTheEvents refuses to start, touches nothing, and names a way
// out that works.
func TestDamagedDefinitionOfTheEvents(t *testing.T) {
	t.Parallel()
	cfg, streams := processedStore(t)
	dir := filepath.Join(streams, eventsStream)
	meta, sum := filepath.Join(dir, server.JetStreamMetaFile), filepath.Join(dir, server.JetStreamMetaFileSum)
	for _, how := range []func(was []byte) []byte{
		func(was []byte) []byte { return flipped(was, 20) },
		func([]byte) []byte { return nil },
	} {
		damage(t, meta, how)
		damaged, err := os.ReadFile(meta)
		if err != nil {
			t.Fatal(err)
		}
		_, err = openOn(t.Context(), cfg, testDeps())
		if err == nil {
			t.Fatal("a store whose events can't be read was opened")
		}
		for _, want := range []string{"'$G > EVENTS' could not be recovered", meta, "from a backup", "move both away"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not say %q: %v", want, err)
			}
		}
		if now, err := os.ReadFile(meta); err != nil || !bytes.Equal(now, damaged) {
			t.Errorf("the file was touched: %v", err)
		}
	}
	if err := errors.Join(os.Remove(meta), os.Remove(sum)); err != nil {
		t.Fatal(err)
	}
	goesOn(t, cfg, testDeps(), 8)
}

// TestDefinitionOfAnEmptyStoreIsMadeAgain: with no message there is nothing to lose.
func TestDefinitionOfAnEmptyStoreIsMadeAgain(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	closeBroker(t, open(t, cfg))
	damage(t, filepath.Join(cfg.StoreDir, "jetstream", "$G", "streams", eventsStream, server.JetStreamMetaFile), func([]byte) []byte { return nil })
	publish(t, open(t, cfg), envelope("1"))
}

// TestDamagedPosition flips one bit after the other of the message that holds the
// reconciler's position, and cuts its file.
func TestDamagedPosition(t *testing.T) {
	t.Parallel()
	stored, _ := processedStore(t)
	size := 0
	block := filepath.Join("jetstream", "$G", "streams", progressStream, "msgs", "1.blk")
	damage(t, filepath.Join(stored.StoreDir, block), func(was []byte) []byte { size = len(was); return was })
	const record = 60 // its length, or a little more
	for at := size - record; at < size; at += 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			cfg := copied(t, stored)
			damage(t, filepath.Join(cfg.StoreDir, block), func(was []byte) []byte { return flipped(was, at) })
			goesOn(t, cfg, testDeps(), 8)
		})
	}
}
