package autotuner

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// The subprotocols of sockets. Pages in a browser cannot set headers: they name
// Subprotocol, and beside it their token in base64url without padding, behind
// bearer. The token is never part of an address, which ends up in logs and
// histories, and only the first of the two is answered.
const (
	Subprotocol = "fleetune.frames"
	bearer      = "fleetune.bearer."
)

// SocketToken is the token among the subprotocols that a request offers.
func SocketToken(r *http.Request) (token string, ok bool) {
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		for offered := range strings.SplitSeq(header, ",") {
			encoded, found := strings.CutPrefix(strings.TrimSpace(offered), bearer)
			if !found {
				continue
			}
			if plain, err := base64.RawURLEncoding.DecodeString(encoded); err == nil {
				return string(plain), true
			}
		}
	}
	return "", false
}
