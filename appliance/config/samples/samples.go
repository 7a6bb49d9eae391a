// Package samples holds what the sender of each preset posts, in PRESET.json: requests that
// are made up in the shape that the sender documents, each with the event that it means.
//
// `send --sample` posts the first of them that means an event; the tests of presets, of the
// intake and of the commands go through all (package sendertest). It knows no courier and
// signs nothing.
package samples

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed *.json
var files embed.FS

// Request is a request of a sender, before it is signed.
type Request struct {
	Name    string            `json:"name"`
	Path    string            `json:"path"`    // the courier's address when empty
	Query   string            `json:"query"`   // encoded
	Headers map[string]string `json:"headers"` // but for those that signing adds
	Body    json.RawMessage   `json:"body"`    // sent as it is in the file; of a string its text
	Ignored bool              `json:"ignored"` // it says nothing of a shipment, by its preset
}

// Presets returns the presets that there are requests of, in order.
func Presets() (names []string) {
	entries, _ := files.ReadDir(".") // it is in the binary
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".json"))
	}
	slices.Sort(names) // with the ending "-" is before "."
	return names
}

// File returns the requests of a preset's sender, as they are in the file.
func File(preset string) ([]byte, error) { return files.ReadFile(preset + ".json") }

// Of returns the first request of a preset's sender that means an event.
func Of(preset string) (Request, error) {
	raw, err := File(preset)
	if err != nil {
		return Request{}, fmt.Errorf("there is no sample of preset %q", preset)
	}
	var all []Request
	if err := json.Unmarshal(raw, &all); err != nil {
		return Request{}, fmt.Errorf("read the samples of preset %q: %w", preset, err)
	}
	for _, r := range all {
		if !r.Ignored && r.Path == "" && r.Query == "" { // another address would be another courier's
			return r, nil
		}
	}
	return Request{}, fmt.Errorf("no sample of preset %q can be sent to any address", preset)
}

// Bytes returns the body as it is sent.
func (r *Request) Bytes() []byte {
	var text string
	if json.Unmarshal(r.Body, &text) == nil {
		return []byte(text)
	}
	return r.Body
}
