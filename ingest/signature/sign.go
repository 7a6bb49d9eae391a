package signature

import (
	"encoding/hex"
	"strconv"
	"time"
)

// Sign returns the headers with which a sender proves body at the time at, by
// the first secret and the preferred algorithm of the config.
func (s *Scheme) Sign(body []byte, at time.Time) []Header {
	a := s.algorithms[0]
	headers := make([]Header, 0, 3)
	var timestamp []byte
	if s.recipe.timestamp != "" {
		timestamp = strconv.AppendInt(nil, at.Unix(), 10)
		headers = append(headers, Header{Name: s.recipe.timestamp, Value: string(timestamp)})
	}
	pool := s.keys[0].macs[a]
	m := pool.Get().(*mac)
	signature := hex.EncodeToString(m.digest(&s.recipe, timestamp, body))
	pool.Put(m)
	return append(headers,
		Header{Name: s.recipe.algorithm, Value: string(a)},
		Header{Name: s.recipe.signature, Value: signature})
}
