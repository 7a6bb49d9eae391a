// Package bench generates events, signs them as a courier of any scheme does, and posts
// them.
//
//	Generator ──body──▶ Signer ──Request──▶ Sender ──▶ the appliance's public listener
//
// The commands sign and send (package appliance) are built on it, and so are the
// load tests: package load sends many events, package proof looks up the outcome of
// each. This package knows the appliance by its HTTP interface only.
package bench

import (
	"fmt"
	"io"
	"os"
)

// usage is an error in how a command was called: nothing was tried.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// ExitCode returns the code that the process should exit with.
func (usage) ExitCode() int { return 2 }

// Open opens a file, or standard input for "-".
func Open(name string, stdin io.Reader) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(stdin), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	return f, nil
}

// UsageErrorf returns the error of a command that was called wrongly, with this text.
// Nothing was tried; its method ExitCode returns 2.
func UsageErrorf(format string, args ...any) error { return usage{fmt.Errorf(format, args...)} }
