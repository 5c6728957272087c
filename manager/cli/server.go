package cli

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fleetune/fleetune/manager/client"
	"github.com/fleetune/fleetune/manager/local"
	"github.com/spf13/cobra"
)

// The variables that select the manager.
const (
	urlVariable   = "FLEETUNE_URL"
	tokenVariable = "FLEETUNE_TOKEN"
)

// dial makes a client of the manager that is asked for: --url or FLEETUNE_URL
// with FLEETUNE_TOKEN, else the one that is up on this machine.
func (a *app) dial() (*client.Client, error) {
	url, token := a.url, a.Getenv(tokenVariable)
	if url == "" {
		url = a.Getenv(urlVariable)
	}
	if url == "" || token == "" {
		here, secret, err := a.local()
		switch {
		case err == nil && url == "":
			url = here
		case err != nil && url == "":
			return nil, err
		}
		// The token of the local Fleetune is its own: it is sent nowhere else.
		if token == "" && err == nil && strings.TrimRight(url, "/") == strings.TrimRight(here, "/") {
			token = secret
		}
	}
	c, err := client.New(url, token)
	if err != nil {
		return nil, &exitError{code: ExitUsage, err: err, next: "correct --url or FLEETUNE_URL"}
	}
	if token == "" {
		return nil, &exitError{code: ExitUnreachable, next: "set FLEETUNE_TOKEN to the manager's token",
			err: errors.New("there is no token for the manager at " + url)}
	}
	return c, nil
}

// Dial makes a client of the manager that the environment names, else of the
// one that is up on this machine, for commands of other rooms.
func Dial(getenv func(string) string) (*client.Client, error) {
	return (&app{Environment: Environment{Getenv: getenv}}).dial()
}

// local reads how to reach the Fleetune that is up on this machine.
func (a *app) local() (url, token string, err error) {
	root, err := local.DefaultRoot(a.Getenv)
	if err != nil {
		return "", "", err
	}
	url, token, err = local.Paths{Root: root}.Reach()
	switch {
	case errors.Is(err, local.ErrNotRunning):
		return "", "", &exitError{code: ExitUnreachable, err: errors.New("no manager is named, and none is up on this machine"),
			next: "start one here with fleetune up, or set FLEETUNE_URL and FLEETUNE_TOKEN"}
	case errors.Is(err, os.ErrPermission):
		return "", "", &exitError{code: ExitUnreachable, err: err,
			next: "the Fleetune that is up here belongs to another account: become it, or set FLEETUNE_URL and FLEETUNE_TOKEN"}
	}
	return url, token, err
}

// calls is a command that asks the manager.
func (a *app) calls(f func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return a.interruptible(func(ctx context.Context, _ *cobra.Command, args []string) error {
		c, err := a.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		return f(ctx, c, args)
	})
}

const (
	// completeTime bounds the wait of a person who has pressed Tab.
	completeTime = 2 * time.Second
	completions  = 100
)

// completeTasks completes the names of tasks, for the first argument only
// unless many are taken.
func (a *app) completeTasks(many bool) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !many {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.complete(cmd, prefix, args, func(ctx context.Context, c *client.Client) ([]string, error) {
			page, err := c.Tasks(ctx, client.Listing{Limit: completions})
			var names []string
			for _, t := range page.Items {
				names = append(names, t.Name)
			}
			return names, err
		})
	}
}

func (a *app) completeWorkers(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(cmd, prefix, args, func(ctx context.Context, c *client.Client) ([]string, error) {
		workers, err := c.Workers(ctx)
		var names []string
		for _, w := range workers {
			names = append(names, w.Name)
		}
		return names, err
	})
}

// complete asks for names. A manager that does not answer completes nothing.
func (a *app) complete(cmd *cobra.Command, prefix string, taken []string, ask func(context.Context, *client.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	c, err := a.dial()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
	defer cancel()
	names, err := ask(ctx, c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return !strings.HasPrefix(name, prefix) || slices.Contains(taken, name)
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}
