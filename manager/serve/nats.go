package serve

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/fleetune/fleetune/shared/log"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/spf13/cobra"
)

// natsCommand is `fleetune nats`: the embedded server in a process of its own.
func natsCommand() *cobra.Command {
	var dir, listen, secretFile, level string
	cmd := &cobra.Command{
		Use:   "nats",
		Short: "Run the embedded NATS server by itself",
		Long: `Run the NATS server that "fleetune up" embeds in a process of its own: one file
store, users and permissions derived from one secret. For a cluster, run
nats-server.`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			logger, err := log.New(os.Stderr, log.Options{Level: level, Role: "nats"})
			if err != nil {
				return err
			}
			secret, err := readSecret("--secret-file", secretFile)
			if err != nil {
				return err
			}
			host, text, err := net.SplitHostPort(listen)
			if err != nil {
				return fmt.Errorf("--listen: %w", err)
			}
			port, err := strconv.Atoi(text)
			if err != nil {
				return fmt.Errorf("--listen: port %q: expected a number", text)
			}
			return natsd.Run(ctx, natsd.Options{Dir: dir, Host: host, Port: port, Secret: []byte(secret), Log: logger},
				func(s *natsd.Server) { logger.Info().Str("url", s.URL()).Msg("NATS ready") })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dir, "dir", "", "folder of the store")
	flags.StringVar(&listen, "listen", "127.0.0.1:7422", "address to listen on")
	flags.StringVar(&secretFile, "secret-file", "", "file with the secret that passwords are derived from")
	flags.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	for _, name := range []string{"dir", "secret-file"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is declared above
		}
	}
	return cmd
}
