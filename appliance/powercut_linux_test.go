package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fincart/courier-gateway/ingest/signature"
)

// TestPowerCut shows that a 202 means that the event is on disk: it cuts the
// power under full load, starts again on what the disk holds, and looks up every
// event that was acknowledged before the cut. The broker's own interval is the
// negative control: there the same cut must lose some, or it shows nothing.
func TestPowerCut(t *testing.T) {
	t.Run("group", func(t *testing.T) {
		cuts := 1
		if *drills {
			cuts = 10
		}
		survivesCuts(t, "group", cuts)
	})
	t.Run("always", func(t *testing.T) {
		if !*drills {
			t.Skip("one sync mode is enough for every day; run with -args -drills")
		}
		survivesCuts(t, "always", 2)
	})
	t.Run("interval", func(t *testing.T) {
		d := newDisk(t)
		c := d.spawn("interval", "APPLIANCE_PROCESS__WORKERS=1", "APPLIANCE_PROCESS__BATCH_SIZE=1") // the ledger is flushed
		acked := d.cutUnderLoad(c, demoScheme(t, d.data()), "interval", func() { last(t, time.Second) })
		missing := d.spawn("interval").missing(acked)
		t.Logf("%d of %d acknowledged events are missing", len(missing), len(acked))
		if len(missing) == 0 {
			t.Error("nothing is missing without a flush, so this drill can't distinguish a flush from none")
		}
	})
}

// survivesCuts cuts the power again and again: first as soon as anything is
// acknowledged on a new disk, then just after history was purged, then as soon as
// there is a new block, then at random moments.
func survivesCuts(t *testing.T, sync string, cuts int) {
	d := newDisk(t)
	c := d.spawn(sync)
	scheme := demoScheme(t, d.data()) // the secret must outlive the cuts, too
	var all []string
	for n := range cuts {
		acked := d.cutUnderLoad(c, scheme, fmt.Sprintf("cut-%d", n), func() {
			switch n {
			case 0:
			case 1:
				eventually(t, "history to be purged", func() bool { return strings.Contains(c.log.String(), "history purged") })
			case 2:
				blocks := d.blocks()
				eventually(t, "a new block", func() bool { return !slices.Equal(d.blocks(), blocks) })
			default:
				last(t, rand.N(4*time.Second))
			}
		})
		c = d.spawn(sync)
		_, q := c.counts()
		t.Logf("cut %d: %d events acknowledged, %d still to be processed", n, len(acked), q.Unprocessed())
		if missing := c.missing(acked); len(missing) > 0 {
			t.Fatalf("%d of %d acknowledged events are missing, such as %s\n%s", len(missing), len(acked), missing[0], c.log)
		}
		all = append(all, acked...)
	}
	c.checksAll(all)
	if err := c.signalled(syscall.SIGTERM); err != nil {
		t.Errorf("the process ended with %v\n%s", err, c.log)
	}
}

// missing waits until the queue is drained and returns the keys of those
// events that were not processed.
func (c *child) missing(keys []string) []string {
	c.t.Helper()
	c.drains(0)
	var missing []string
	for _, key := range keys {
		if !c.processed(key) {
			missing = append(missing, key)
		}
	}
	return missing
}

// disk is an ext4 file system of a test's own, whose power can be cut. Its loop
// device passes what it gets straight on, so that the image holds what the file
// system has written and nothing else. What a real disk keeps in a cache of its own
// and loses, although it was flushed, is not part of the drill.
type disk struct {
	t          *testing.T
	image, dir string
}

// newDisk makes a file system in a sparse file and mounts it. It skips the test
// where that is not possible, except in CI.
func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "image"), dir: t.TempDir()}
	err := errors.Join(command("truncate", "-s", "2G", d.image), command("mkfs.ext4", "-q", d.image), d.mount())
	if err == nil {
		t.Cleanup(d.unmount) // after the clean-ups of the appliances on it, which kill them
		return d
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("a power cut needs root, mkfs.ext4 and a loop device, and CI must not go without: %v", err)
	}
	t.Skipf("a power cut needs root, mkfs.ext4 and a loop device: %v", err)
	return nil
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

func (d *disk) mount() error {
	out, err := exec.Command("losetup", "--find", "--show", "--direct-io=on", d.image).Output()
	if err != nil {
		return fmt.Errorf("losetup: %w", err)
	}
	device := strings.TrimSpace(string(out))
	// Detached now, the device goes with the last that uses it.
	return errors.Join(command("mount", device, d.dir), command("losetup", "--detach", device))
}

// unmount unmounts the file system, as soon as those that used it have ended, and
// frees its loop device; nothing happens when it is not mounted.
func (d *disk) unmount() {
	d.t.Helper()
	eventually(d.t, "the disk to be unmounted", func() bool {
		err := unix.Unmount(d.dir, 0)
		return err == nil || errors.Is(err, unix.EINVAL)
	})
}

// spawn starts an appliance that keeps everything on the disk, and so little
// history that it purges some during a drill.
func (d *disk) spawn(sync string, environment ...string) *child {
	d.t.Helper()
	return spawn(d.t, d.data(), append(environment, "APPLIANCE_JETSTREAM__SYNC="+sync,
		"APPLIANCE_JETSTREAM__MAX_BYTES=268435456", "APPLIANCE_JETSTREAM__DUPLICATE_WINDOW=1s",
		"APPLIANCE_JETSTREAM__HISTORY_HIGH_WATER_BYTES=1048576", "APPLIANCE_JETSTREAM__HISTORY_LOW_WATER_BYTES=524288")...)
}

// blocks are the files in which the queue keeps its events.
func (d *disk) blocks() []string {
	d.t.Helper()
	paths, err := filepath.Glob(filepath.Join(d.data(), "jetstream", "jetstream", "*", "streams", "EVENTS", "msgs", "*.blk"))
	if err != nil || len(paths) == 0 {
		d.t.Fatalf("no blocks found: %v", err)
	}
	return paths
}

// data is the appliance's directory, which its first start makes.
func (d *disk) data() string { return filepath.Join(d.dir, "data") }

// cutUnderLoad posts events at full speed, waits for a moment after the first is
// acknowledged, cuts the power, and gives it back. It returns the keys of those that
// were acknowledged before the cut.
func (d *disk) cutUnderLoad(c *child, scheme *signature.Scheme, tag string, moment func()) (acked []string) {
	d.t.Helper()
	root, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer root.Close()
	var posters []*traffic
	for i := range 4 {
		posters = append(posters, startLoad(c, scheme, fmt.Sprintf("%s-%d", tag, i), 0))
	}
	eventually(d.t, "an event to be acknowledged", func() bool {
		return slices.ContainsFunc(posters, func(p *traffic) bool { return p.count.Load() > 0 })
	})
	moment()
	cut := time.Now()
	err = unix.IoctlSetPointerInt(int(root.Fd()), shutDown, withoutFlush)
	if err := errors.Join(err, root.Close()); err != nil {
		d.t.Fatalf("cutting the power: %v", err)
	}
	_ = c.signalled(syscall.SIGKILL)
	for _, p := range posters {
		p.stop()
		acked = append(acked, p.ackedBefore(cut)...)
	}
	d.unmount()
	if err := d.mount(); err != nil {
		d.t.Fatalf("mounting what the disk holds: %v", err)
	}
	return acked
}

// EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH, of the kernel's
// fs/ext4/ext4.h: from that instant nothing reaches the disk any more, neither
// from memory nor from the journal's, as when the power fails.
const (
	shutDown     = 0x8004587d
	withoutFlush = 2
)
