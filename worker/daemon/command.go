package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/fleetune/fleetune/proto/node"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/log"
	"github.com/fleetune/fleetune/worker/process"
	"github.com/fleetune/fleetune/worker/simulate"
	"github.com/spf13/cobra"
)

// joinTime bounds the request for the worker's credentials.
const joinTime = 10 * time.Second

// options are the flags of the worker command.
type options struct {
	Config
	join, nats, passwordFile, credsFile string
	level                               string
}

// Command is `fleetune worker`, and all there is of `fleetune-worker`.
func Command(use, version string) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   use,
		Short: "Run a worker on this node",
		Long: `Run a worker: it finds this node's devices, joins the fleet, runs experiments.

Join with the address of a manager and the join token in FLEETUNE_TOKEN:

  FLEETUNE_TOKEN=… ` + use + ` --join http://manager:7420

or connect to NATS directly with --nats and --password-file or --creds.

The first interrupt drains: what runs may finish. The second hands it back.`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Version = version
			return o.run(cmd.Context())
		},
	}
	host, _ := os.Hostname() // without one, --name has no default
	flags := cmd.Flags()
	flags.StringVar(&o.join, "join", "", "address of a manager to join")
	flags.StringVar(&o.nats, "nats", "", "URL of the NATS server, instead of --join")
	flags.StringVar(&o.passwordFile, "password-file", "", "file with this worker's NATS password")
	flags.StringVar(&o.credsFile, "creds", "", "NATS credentials file")
	flags.StringVar(&o.Name, "name", Token(host), "name of this worker, unique in the fleet")
	flags.StringVar(&o.Pool, "pool", node.DefaultPool, "pool this node belongs to")
	flags.StringToStringVar(&o.Labels, "label", nil, "label that tasks may ask for, as name=value")
	flags.StringVar(&o.Dir, "dir", "", "folder for results and caches (default: under the state folder, by name)")
	flags.StringVar(&o.LockFolder, "lock-dir", "", "folder of the devices' lock files, shared by all workers of a host")
	flags.StringVar(&o.Secrets, "secrets", "", "folder with one file per secret that tasks may name")
	flags.StringVar(&o.Devices.Vendor, "vendor", "", "use only nvidia, amd or cpu devices")
	flags.IntVar(&o.Devices.CPUSlots, "slots", 0, "number of CPU slots where no GPU is (default: one per core but the first)")
	o.Engines.Flags(flags)
	flags.StringVar(&o.level, "log-level", "info", "debug, info, warn or error")
	cmd.MarkFlagsMutuallyExclusive("join", "nats")
	cmd.MarkFlagsOneRequired("join", "nats")
	cmd.AddCommand(clearCommand(), simulate.Command())
	return cmd
}

var notToken = regexp.MustCompile(`[^a-z0-9_-]+`)

// Token makes a name one token of a subject.
func Token(name string) string {
	return strings.Trim(notToken.ReplaceAllString(strings.ToLower(name), "-"), "-")
}

func (o *options) run(ctx context.Context) error {
	if o.Name == "" || o.Name != Token(o.Name) {
		return fmt.Errorf("--name %q: expected lower-case letters, digits, - and _, such as %q", o.Name, Token(o.Name+"-1"))
	}
	var err error
	if o.Log, err = log.New(os.Stderr, log.Options{Level: o.level}); err != nil {
		return err
	}
	if err := process.BecomeSubreaper(); err != nil {
		return err
	}
	if o.Dir == "" {
		o.Dir = filepath.Join(stateFolder(), "worker-"+o.Name)
	}
	if o.Bus, err = o.access(ctx); err != nil {
		return err
	}
	o.Bus.Name, o.Bus.RetryFirst, o.Bus.Log = o.Name, true, o.Log
	o.Fault = os.Getenv("FLEETUNE_FAULT")
	drain, stop := Signals()
	defer stop()
	return Run(ctx, o.Config, drain)
}

// Signals turns interrupts into drain wishes; stop ends that.
func Signals() (drain <-chan struct{}, stop func()) {
	signals := make(chan os.Signal, 2)
	wishes := make(chan struct{}, 2)
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-signals:
				select {
				case wishes <- struct{}{}:
				default: // two are all that matter
				}
			}
		}
	}()
	return wishes, func() {
		signal.Stop(signals)
		close(done)
		<-ended
	}
}

// access finds out how to reach the bus.
func (o *options) access(ctx context.Context) (bus.Options, error) {
	switch {
	case o.join != "":
		return Join(ctx, o.join, o.Name, os.Getenv("FLEETUNE_TOKEN"))
	case o.credsFile != "":
		return bus.Options{URL: o.nats, CredsFile: o.credsFile}, nil
	case o.passwordFile != "":
		password, err := os.ReadFile(o.passwordFile)
		if err != nil {
			return bus.Options{}, fmt.Errorf("--password-file: %w", err)
		}
		return bus.Options{URL: o.nats, User: o.Name, Password: strings.TrimSpace(string(password))}, nil
	default:
		return bus.Options{}, errors.New("--nats needs --password-file or --creds")
	}
}

// Join asks a manager for this worker's access to the bus.
func Join(ctx context.Context, manager, name, token string) (bus.Options, error) {
	if token == "" {
		return bus.Options{}, errors.New("--join needs the join token in FLEETUNE_TOKEN; `fleetune up` prints the whole command")
	}
	target, err := url.JoinPath(manager, "api/v1/workers", url.PathEscape(name), "credentials")
	if err != nil {
		return bus.Options{}, fmt.Errorf("--join %q: %w", manager, err)
	}
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(nil))
	if err != nil {
		return bus.Options{}, fmt.Errorf("--join %q: %w", manager, err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return bus.Options{}, fmt.Errorf("joining %s: %w", manager, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return bus.Options{}, fmt.Errorf("joining %s: %w", manager, err)
	}
	if response.StatusCode != http.StatusOK {
		return bus.Options{}, fmt.Errorf("joining %s: %s: %s", manager, response.Status, refusal(response.StatusCode, body))
	}
	var access struct{ URL, User, Password string }
	if err := json.Unmarshal(body, &access); err != nil {
		return bus.Options{}, fmt.Errorf("joining %s: %w", manager, err)
	}
	return bus.Options{URL: access.URL, User: access.User, Password: access.Password}, nil
}

// refusal is what a manager says in a problem document, or what another
// server said in its place.
func refusal(status int, body []byte) string {
	var problem struct{ Detail string }
	if json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
		return string(bytes.TrimSpace(body))
	}
	if status == http.StatusUnauthorized {
		return problem.Detail + "; FLEETUNE_TOKEN takes what the file join.token in the manager's state folder holds"
	}
	return problem.Detail
}

// stateFolder is where a worker keeps its folder unless told otherwise.
func stateFolder() string {
	if dir := os.Getenv("FLEETUNE_HOME"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/lib/fleetune"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "fleetune")
	}
	home, _ := os.UserHomeDir() // without one, the folder is relative and says so
	return filepath.Join(home, ".local", "state", "fleetune")
}
