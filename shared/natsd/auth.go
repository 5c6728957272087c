package natsd

import (
	"crypto/subtle"

	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/nats-io/nats-server/v2/server"
)

// ManagerUser is the user that may do everything on Fleetune's account.
const ManagerUser = wire.ManagerName

// An authenticator lets the manager and the workers in. It keeps no list: the
// password proves that whoever gave it out knew the secret.
type authenticator struct{ secret []byte }

// Check implements server.Authentication.
func (a authenticator) Check(c server.ClientAuthentication) bool {
	opts := c.GetOpts()
	if opts.Username == ManagerUser {
		if !same(opts.Password, bus.ManagerPassword(a.secret)) {
			return false
		}
		c.RegisterUser(&server.User{Username: ManagerUser})
		return true
	}
	if !wire.ValidWorkerName(opts.Username) || !same(opts.Password, bus.WorkerPassword(a.secret, opts.Username)) {
		return false
	}
	c.RegisterUser(&server.User{Username: opts.Username, Permissions: workerPermissions(opts.Username)})
	return true
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// workerPermissions are what a worker needs and nothing else: its own
// subjects, pulls from the work stream, and acknowledgements there. Both forms
// of acknowledgement subject are allowed, with and without a domain.
func workerPermissions(name string) *server.Permissions {
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			wire.ClaimSubject(name),
			wire.BeatSubject(name),
			wire.FetchSubject(name),
			wire.ReportSubject(name),
			wire.ProgressSubject(name),
			wire.WorkerLogs(name),
			wire.WorkerLoads(name),
			"$JS.API.CONSUMER.MSG.NEXT." + wire.StreamWork + ".>",
			"$JS.API.CONSUMER.INFO." + wire.StreamWork + ".>",
			"$JS.ACK." + wire.StreamWork + ".>",
			"$JS.ACK.*.*." + wire.StreamWork + ".>",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{
			bus.InboxPrefix(name) + ".>",
			wire.ControlSubject(name),
			wire.HintSubjects,
		}},
	}
}
