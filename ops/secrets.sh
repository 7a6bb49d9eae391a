#!/bin/sh
# Makes the credentials of compose.yaml, once: random ones, for each container in a
# directory of its own that only its user can read. A second run changes nothing.
#
#   sh ops/secrets.sh DIR
#
#   DIR/mongodb     root_password, password (of the appliance), keyfile, test_uri
#   DIR/redis       redis.conf, password
#   DIR/nats        nats.conf
#   DIR/appliance   mongo_uri, redis_url, nats_user, stamp_key, demo_secret
set -eu
umask 077
cd "$1"
[ ! -e appliance/complete ] || exit 0

# random prints 64 hexadecimal digits, which need no quotes in a URI or a configuration.
random() {
    value=$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')
    [ ${#value} -eq 64 ] || { echo "secrets.sh: /dev/urandom gives no random bytes" >&2; exit 1; }
    printf %s "$value"
}

# put writes a file from standard input; USER, the owner, is a number, because the
# names are those of another image.
put() { # USER FILE
    rm -f "$2"
    cat >"$2"
    chmod 0400 "$2"
    if [ "$(id -u)" = 0 ]; then chown "$1:$1" "$2"; fi
}

mongodb=999 redis=999 nats=0 appliance=65532
mkdir -p mongodb redis nats appliance
chmod 0755 mongodb redis nats appliance # files in them say who may read them

root=$(random) mongo=$(random) cache=$(random) queue=$(random) routes=$(random)

printf %s "$root" | put $mongodb mongodb/root_password
printf %s "$mongo" | put $mongodb mongodb/password
random | put $mongodb mongodb/keyfile
put $mongodb mongodb/test_uri <<END
mongodb://root:$root@127.0.0.1:27117/?replicaSet=rs0
END

printf %s "$cache" | put $redis redis/password
# A cache: it may forget, and it must not grow without bound.
put $redis redis/redis.conf <<END
bind * -::*
requirepass $cache
save ""
maxmemory 256mb
maxmemory-policy allkeys-lru
END

put $nats nats/nats.conf <<END
listen: 0.0.0.0:4222
http: 127.0.0.1:8222
jetstream { store_dir: /data }
authorization { user: appliance, password: "$queue" }
cluster {
  name: courier
  listen: 0.0.0.0:6222
  authorization { user: server, password: "$routes" }
  routes: [
    nats://server:$routes@nats-1:6222
    nats://server:$routes@nats-2:6222
    nats://server:$routes@nats-3:6222
  ]
}
END

put $appliance appliance/mongo_uri <<END
mongodb://appliance:$mongo@mongodb:27017/?replicaSet=rs0&authSource=admin
END
put $appliance appliance/redis_url <<END
redis://:$cache@redis:6379/0
END
put $appliance appliance/nats_user <<END
appliance:$queue
END
# Shared by all services of a cluster: one signs what another one verifies.
random | put $appliance appliance/stamp_key
random | put $appliance appliance/demo_secret
put $appliance appliance/complete </dev/null
