package signature

import (
	"encoding/base64"
	"encoding/json"
	"time"
)

// credential shows the secret itself.
func (w *signing) credential() error {
	c := &w.scheme.config
	secret, _, err := w.secret()
	if err != nil {
		return err
	}
	text := c.Signature.Prefix + string(secret.Key)
	switch f := w.scheme.family; {
	case f.keys == basicKeys:
		text = f.word + " " + w.scheme.codecs[0].encode(secret.Key)
	case f.word != "":
		text = f.word + " " + text
	}
	return w.put(c.Signature.From, c.Signature.Names, text)
}

// tokenLife is how long a token that we sign is good.
const tokenLife = 5 * time.Minute

// token signs a token with the claims that the config asks for.
func (w *signing) token() error {
	c := &w.scheme.config
	header := map[string]string{"typ": "JWT", "alg": string(w.in.algorithm.name)}
	byRSA := w.in.algorithm.name == RS256
	if byRSA && c.PrivateKey != nil && c.PrivateKey.ID != "" {
		header["kid"] = c.PrivateKey.ID
	}
	claims := map[string]any{"iat": w.at.Unix(), "exp": w.at.Add(tokenLife).Unix()}
	for _, required := range w.scheme.claims {
		if _, ours := claims[required.name]; !ours {
			claims[required.name] = required.value
		}
	}
	text := tokenPart(header) + "." + tokenPart(claims)
	w.in.parts = append(w.in.parts, []byte(text))
	var signature []byte
	var err error
	if byRSA {
		signature, err = w.byPrivateKey(true)
	} else if _, k, problem := w.secret(); problem == nil {
		signature = w.byMAC(k.verifier.(*macKey))
	} else {
		err = problem
	}
	if err != nil {
		return err
	}
	text += "." + base64.RawURLEncoding.EncodeToString(signature)
	return w.put(c.Signature.From, c.Signature.Names, c.Signature.Prefix+text)
}

func tokenPart(members any) string {
	text, _ := json.Marshal(members) // maps of strings and numbers always marshal
	return base64.RawURLEncoding.EncodeToString(text)
}
