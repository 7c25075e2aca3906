# A private Kafka broker on loopback, for scenarios that need nothing else.
# Source it; D is a folder of the scenario's own.  A broker has a name:
#
#   broker_start NAME     starts it (again); its address is in $D/NAME/address
#   broker_kill NAME      SIGKILL
#   broker_stop NAME      SIGTERM, waits
#   broker_end            all that were started here
#
# GX_KAFKA_JARS names the folder of the jars.

GX_KAFKA_JARS=${GX_KAFKA_JARS:-$HOME/.cache/gxbus/kafka-4.1.2}

broker_needs() {
	command -v java >/dev/null && ls "$GX_KAFKA_JARS"/kafka_2.13-*.jar \
		>/dev/null 2>&1 || {
		echo "java or Kafka's jars are missing: $GX_KAFKA_JARS"
		exit 77
	}
}

broker_make() {
	local b=$D/$1 port control
	mkdir -p "$b"
	read -r port control < <(conf/local/ports "$b" broker controller |
		awk '{ printf "%s ", $2 } END { print "" }')
	echo "127.0.0.1:$port" >"$b/address"
	cat >"$b/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$control
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$control
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$b/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
default.replication.factor=1
min.insync.replicas=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=${AUTO_CREATE:-false}
message.max.bytes=4194304
log.cleaner.dedupe.buffer.size=16777216
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
P
	cat >"$b/log4j2.properties" <<'P'
rootLogger.level=info
rootLogger.appenderRef.c.ref=C
appender.c.type=Console
appender.c.name=C
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=[%d] %p %m (%c)%n
P
	java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
		-Dlog4j2.configurationFile="$b/log4j2.properties" \
		-cp "$GX_KAFKA_JARS/*" kafka.tools.StorageTool format \
		-t AAAAAAAAAAAAAAAAAAAAAA -c "$b/server.properties" \
		>"$b/format.log" 2>&1
}

broker_start() {
	local b=$D/$1 n=1200
	[ -f "$b/server.properties" ] || broker_make "$1" || return 1
	: >"$b/broker.log"
	java -Xms128m -Xmx400m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
		-Djava.awt.headless=true \
		-Dlog4j2.configurationFile="$b/log4j2.properties" \
		-cp "$GX_KAFKA_JARS/*" kafka.Kafka "$b/server.properties" \
		>"$b/broker.log" 2>&1 &
	echo $! >"$b/pid"
	until grep -q 'Kafka Server started' "$b/broker.log"; do
		n=$((n - 1))
		[ $n -gt 0 ] && kill -0 "$(cat "$b/pid")" 2>/dev/null || {
			tail -n 20 "$b/broker.log"
			return 1
		}
		read -r -t 0.05 <> <(:) || :
	done
}

broker_kill() {
	kill -9 "$(cat "$D/$1/pid")" 2>/dev/null
	wait "$(cat "$D/$1/pid")" 2>/dev/null
}

broker_stop() {
	kill "$(cat "$D/$1/pid")" 2>/dev/null
	wait "$(cat "$D/$1/pid")" 2>/dev/null
}

broker_end() {
	local f
	for f in "$D"/*/pid; do
		[ -f "$f" ] && kill -9 "$(cat "$f")" 2>/dev/null
	done
	wait 2>/dev/null
}
