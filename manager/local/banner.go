//go:build unix

package local

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// banner tells what listens where, where the data is, and how to join, reach
// and stop.
func (o Options) banner(e *Environment) string {
	var b strings.Builder
	line := func(name, format string, values ...any) {
		fmt.Fprintf(&b, "  %-10s "+format+"\n", append([]any{name}, values...)...)
	}
	b.WriteString("Fleetune is up.\n")
	line("API", "%s", e.URL)
	line("bus", "%s%s", redacted(e.BusURL), whose(e.PrivateNATS))
	line("database", "%s%s", redacted(e.DatabaseURL), whose(e.PrivatePostgres))
	line("data", "%s", e.Paths.Root)
	line("token", "in %s", e.Paths.Token())
	line("join", "%s", o.join(e))
	line("stop", "Ctrl-C, or kill the process; twice to hurry")
	return b.String()
}

// join is the command that joins another node. The token itself appears only
// on a person's terminal; in a log, the command fetches it.
func (o Options) join(e *Environment) string {
	address := e.Listener.Addr().String()
	if tcp, ok := e.Listener.Addr().(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		return fmt.Sprintf("no other node can: this listens on this machine only. Start it with --listen 0.0.0.0:%d for that", tcp.Port)
	}
	address = public(address)
	token := e.JoinToken
	if !o.ShowToken {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			host = address
		}
		token = fmt.Sprintf(`"$(ssh %s cat %s)"`, host, shellWord(e.Paths.JoinToken()))
	}
	return fmt.Sprintf("another node with: FLEETUNE_TOKEN=%s fleetune-worker --join http://%s", token, address)
}

func whose(private bool) string {
	if private {
		return " (private)"
	}
	return ""
}

// redacted is a URL without its password.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(given)"
	}
	return u.Redacted()
}

// shellWord quotes what is not one plain word.
func shellWord(s string) string {
	if strings.ContainsAny(s, " '\"$") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
