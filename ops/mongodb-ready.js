// The health check of the MongoDB containers of compose.yaml, for mongosh. The first time it
// makes the replica set of one (majority write concern and journalling are what the ledger
// relies on) and the appliance's user; then it succeeds while the server takes writes.
//
// MONGODB_ADDRESS is how clients reach the server, HOST:PORT.
const address = process.env.MONGODB_ADDRESS;
const secret = (name) => require("fs").readFileSync("/run/secrets/mongodb/" + name, "utf8").trim();
const port = address.split(":")[1];
const admin = connect(`mongodb://root:${secret("root_password")}@127.0.0.1:${port}/admin?directConnection=true`);

if (admin.hello().setName === undefined) {
  admin.adminCommand({replSetInitiate: {_id: "rs0", members: [{_id: 0, host: address}]}});
}
const writable = admin.hello().isWritablePrimary;
if (writable && admin.getUser("appliance") === null) {
  const roles = ["courier_gateway", "courier_gateway_cluster"].flatMap((db) => [
    {role: "readWrite", db},
    {role: "dbAdmin", db}, // which changing a retention takes
  ]);
  admin.createUser({user: "appliance", pwd: secret("password"), roles});
}
quit(writable ? 0 : 1);
