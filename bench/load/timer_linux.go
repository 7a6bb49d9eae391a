package load

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timer waits to about 0.05 ms. The runtime's own timers are up to a millisecond
// late while nothing else happens, which would count as the appliance's latency;
// a file descriptor of the kernel's timer wakes the runtime in time. It is not
// safe for concurrent use.
type timer struct {
	fd   int
	file *os.File
	buf  [8]byte
}

func newTimer() (*timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	return &timer{fd: fd, file: os.NewFile(uintptr(fd), "timer")}, nil
}

// wait blocks for d.
func (t *timer) wait(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}
	err := unix.TimerfdSettime(t.fd, 0, &spec, nil)
	if err == nil {
		_, err = t.file.Read(t.buf[:])
	}
	if err != nil { // closed, or a kernel without it
		time.Sleep(d)
	}
}

func (t *timer) close() { _ = t.file.Close() }
