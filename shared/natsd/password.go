package natsd

import "github.com/fleetune/fleetune/shared/bus"

// ManagerPassword is the password of ManagerUser.
func ManagerPassword(secret []byte) string { return bus.ManagerPassword(secret) }

// WorkerPassword is the password of the worker of that name.
func WorkerPassword(secret []byte, name string) string { return bus.WorkerPassword(secret, name) }
