package values

import (
	"bytes"
	"encoding/hex"
)

// Parameter finds a parameter in a raw query and appends its decoded value to
// dst. It returns the value, or nil and not ok for one that can't be decoded,
// and how often the parameter is there.
func Parameter(dst, query []byte, name string) (out, value []byte, count int, ok bool) {
	ok = true
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte("&"))
		key, raw, _ := bytes.Cut(pair, []byte("="))
		start := len(dst)
		dst, key, _ = appendUnquoted(dst, key)
		same := string(key) == name
		dst = dst[:start]
		if !same {
			continue
		}
		if count++; count == 1 {
			dst, value, ok = appendUnquoted(dst, raw)
		}
	}
	return dst, value, count, ok
}

// appendUnquoted appends text with its percent signs and plus signs resolved.
func appendUnquoted(dst, text []byte) (out, value []byte, ok bool) {
	out = dst
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '+':
			out = append(out, ' ')
		case c != '%':
			out = append(out, c)
		case i+2 >= len(text):
			return dst, nil, false
		default:
			var b [1]byte
			if _, err := hex.Decode(b[:], text[i+1:i+3]); err != nil {
				return dst, nil, false
			}
			out = append(out, b[0])
			i += 2
		}
	}
	return out, out[len(dst):len(out):len(out)], true
}
