// Package ops is the vocabulary of the admin API: the documents that its routes
// take and answer with, their paths, the queries of its listings, and the refusal
// ([Problem]) that takes the place of an answer. openapi.json describes all of it.
//
// What comes in are the rows and codes of ingest/event; what goes out are their
// documents. This package holds no logic of either side: ops/admin is the server,
// ops/client asks it over HTTP, ops/cli has the operators' commands, and
// ops/terminal prints for people. They and appliance/app may import this one.
//
//	ops/cli ──▶ ops/client ──HTTP──▶ ops/admin ──▶ stores, queue, intake
//	   │             └──────▶ ops ◀──────┘         (interfaces of ops/admin)
//	   └──▶ ops/terminal
package ops

import (
	_ "embed"
	"net/url"
	"strings"
)

// OpenAPI describes every route of the admin API. Tests hold it against the types
// of this package and against the server's route table.
//
//go:embed openapi.json
var OpenAPI string

// Paths whose rest is one key, whatever characters it has.
const (
	EventsPath    = "/api/v1/events/"
	ShipmentsPath = "/api/v1/shipments/"
)

// Paths that the routes of one kind of thing begin with.
const (
	HealthPath      = "/health"
	StatusPath      = "/api/v1/status"
	DeadLettersPath = "/api/v1/dead-letters"
	RejectionsPath  = "/api/v1/rejections"
	IngestionsPath  = "/api/v1/ingestions"
	CouriersPath    = "/api/v1/couriers"
	UnmappedPath    = CouriersPath + "/unmapped"
	ReprocessPath   = EventsPath + "reprocess"
	LossesPath      = "/api/v1/queue/losses"
)

// EscapeSegment escapes s as one path segment that no cleaning takes for a step
// up the tree.
func EscapeSegment(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}
