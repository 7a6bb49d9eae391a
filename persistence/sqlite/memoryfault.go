package sqlite

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
)

// memoryFault is the error of a page of mapped memory that could not be read.
//
// SQLite maps the index of its log (-shm) into memory. When that file is cut, by a
// copy over the running store for example, or its disk can't read it back, touching
// the page ends the process with SIGBUS, unless Go is set to panic instead. The
// connection was in the middle of its work then, and keeps its locks: this process can't
// use the store any more, but goes on without it.
type memoryFault struct{ cause error }

func (f *memoryFault) Error() string {
	return fmt.Sprintf("the files of the store were cut or can't be read while they were open (%v): restart the appliance", f.cause)
}

func (f *memoryFault) Unwrap() error { return f.cause }

// isFault reports whether err is of mapped memory.
func isFault(err error) bool {
	_, fault := errors.AsType[*memoryFault](err)
	return fault
}

// guarded runs fn, which uses SQLite, and returns a [memoryFault] when it meets one.
// Other panics are passed on.
func guarded(fn func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case interface {
			runtime.Error
			Addr() uintptr
		}:
			err = &memoryFault{cause}
		default:
			panic(cause)
		}
	}()
	return fn()
}
