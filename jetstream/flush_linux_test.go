package jetstream

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fincart/courier-gateway/ingest/event"
)

// TestDiskThatFailsToFlush runs the broker on a file system whose disk takes
// writes into memory and then fails to store them, as a thin volume does when it
// runs out: write(2) succeeds, the flush doesn't.
func TestDiskThatFailsToFlush(t *testing.T) {
	t.Parallel()
	t.Run("and works again", func(t *testing.T) {
		t.Parallel()
		survivesFailedFlush(t, func(b *Broker, works func(), _ Config) *Broker {
			works()
			eventually(t, "recovery", b.Healthy)
			return b
		})
	})
	t.Run("and works again after the process has ended", func(t *testing.T) {
		t.Parallel()
		survivesFailedFlush(t, func(b *Broker, works func(), cfg Config) *Broker {
			if err := stop(t.Context(), b); err == nil {
				t.Error("a store that is not durable is closed without a word")
			}
			works()
			return open(t, cfg)
		})
	})
}

// survivesFailedFlush fills the disk until a flush fails. Then fix makes it
// work, and returns the broker as it is after that.
func survivesFailedFlush(t *testing.T, fix func(b *Broker, works func(), cfg Config) *Broker) {
	backing := mountTmpfs(t, "48m")
	cfg := testConfig(t)
	disk := mountThin(t, filepath.Join(backing, "disk"))
	cfg.StoreDir = filepath.Join(disk.dir, "store")
	cfg.MaxBytes = 1 << 30
	deps := testDeps()
	b := openWith(t, cfg, deps)
	stored := map[string]uint64{}
	send := func(key string) error {
		e := envelope(key)
		e.Body = make([]byte, 64<<10)
		e.Body[0] = 'x'
		r, err := b.Publish(t.Context(), e)
		if err == nil {
			stored[key] = r.Sequence
		}
		return err
	}
	for i := range 50 {
		if err := send(strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	ballast := filepath.Join(backing, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil { // all that is left
		_, err = f.Write(make([]byte, 1<<16))
	}
	f.Close()

	refused := ""
	for i := 50; refused == ""; i++ {
		if err := send(strconv.Itoa(i)); err != nil {
			if event.CodeOf(err) != event.IntakeUnavailable || !strings.Contains(err.Error(), "flush") {
				t.Fatalf("a disk that fails to flush answers %v", err)
			}
			refused = strconv.Itoa(i)
		}
	}
	if count(t, deps, "flush_errors_total") != 1 {
		t.Error("the flush didn't fail")
	}
	b = fix(b, func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}, cfg)
	if err := send(refused); err != nil {
		t.Errorf("the refused event sent again: %v", err)
	}
	closeBroker(t, b)
	disk.unmount() // what is in memory only is gone
	disk.mount()
	b = open(t, cfg)
	for key, seq := range stored {
		if d, err := b.Load(t.Context(), seq); err != nil || d.Key != key || len(d.Body) != 64<<10 || d.Body[0] != 'x' {
			t.Fatalf("%s was acknowledged, sequence %d holds %q, %v", key, seq, d.Key, err)
		}
	}
}

// thinDisk is a file system in a sparse file, larger than what holds the file.
type thinDisk struct {
	t          *testing.T
	image, dir string
}

func mountThin(t *testing.T, image string) *thinDisk {
	t.Helper()
	d := &thinDisk{t: t, image: image, dir: t.TempDir()}
	d.run("truncate", "-s", "256M", image)
	d.run("mkfs.ext4", "-q", "-O", "^has_journal", "-E", "nodiscard", image)
	d.mount()
	t.Cleanup(d.unmount)
	return d
}

func (d *thinDisk) mount() { d.t.Helper(); d.run("mount", "-o", "loop", d.image, d.dir) }

func (d *thinDisk) unmount() {
	d.t.Helper()
	eventually(d.t, "unmount", func() bool {
		err := unix.Unmount(d.dir, 0)
		return err == nil || errors.Is(err, unix.EINVAL) // not mounted
	})
}

func (d *thinDisk) run(args ...string) {
	d.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			d.t.Fatalf("%v: %v: %s", args, err, out)
		}
		d.t.Skipf("needs a loop device and mkfs.ext4: %v: %s", err, out)
	}
}
