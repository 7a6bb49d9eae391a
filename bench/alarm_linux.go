package bench

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm waits to about 0.05 ms. The runtime's own timers are up to a millisecond
// late while nothing else happens, which would count as the appliance's latency;
// a file descriptor of the kernel's timer wakes the runtime in time. It is not
// safe for concurrent use.
type alarm struct {
	fd   int
	file *os.File
	buf  [8]byte
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	return &alarm{fd: fd, file: os.NewFile(uintptr(fd), "timer")}, nil
}

// wait blocks for d.
func (a *alarm) wait(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}
	err := unix.TimerfdSettime(a.fd, 0, &spec, nil)
	if err == nil {
		_, err = a.file.Read(a.buf[:])
	}
	if err != nil { // closed, or a kernel that we don't know
		time.Sleep(d)
	}
}

func (a *alarm) close() { _ = a.file.Close() }
