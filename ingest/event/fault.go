package event

import (
	"fmt"
	"strings"
)

// Fault is one thing wrong with a body or with settings. Path names the member or
// key, in dotted form ("payload.shipmentId"); "$" is the document itself.
type Fault struct {
	Path    string `json:"path"`
	Message string `json:"message"`
}

// Faults is everything wrong with a body or with settings, found in one go so that
// it can be corrected in one go. As an error it is used by way of [Faults.Err].
type Faults []Fault

// Check adds a fault unless ok.
func (f *Faults) Check(ok bool, path, format string, args ...any) {
	if !ok {
		*f = append(*f, Fault{Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

// Err returns f as an error, nil when there is no fault.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Error lists the faults in one line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = one.Path + ": " + one.Message
	}
	return strings.Join(lines, "; ")
}
