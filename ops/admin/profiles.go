package admin

import (
	"net/http"
	"strconv"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
)

// maxProfile is how long a profile or a trace may take: it slows the whole process.
const maxProfile = time.Minute

// profiler takes profiles; there is one in it while one is being taken.
type profiler chan struct{}

// bounded bounds a profile's handler: in length, and to one at a time.
func (p profiler) bounded(h http.HandlerFunc) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if text := r.URL.Query().Get("seconds"); text != "" {
			seconds, err := strconv.ParseFloat(text, 64)
			if inRange := seconds >= 0 && seconds <= maxProfile.Seconds(); err != nil || !inRange { // NaN is not
				return ops.Refuse(event.BadRequest, "seconds=%q is not between 0 and %v", text, maxProfile.Seconds())
			}
		}
		select {
		case p <- struct{}{}:
			defer func() { <-p }()
		default:
			return ops.Refuse(event.Throttled, "another profile is being taken: one at a time, because it slows the whole process")
		}
		h(w, r)
		return nil
	}
}
