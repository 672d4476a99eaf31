import com.amazonaws.services.dynamodbv2.local.server.LocalDynamoDBRequestHandler;
import com.amazonaws.services.dynamodbv2.local.server.LocalDynamoDBServerHandler;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;

/**
 * Amazon's DynamoDB Local, in memory, on a free port of the loopback interface.
 *
 * <p>Its own main class listens on every interface and sends telemetry, so the tests start it through this one.
 * It prints {"http": URL} when it is ready and ends with its standard input, so it cannot outlive the tests.
 */
class DynamoDb {
    public static void main(String[] args) throws Exception {
        var server = new Server(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
        server.setHandler(new LocalDynamoDBServerHandler(inMemory(), "*"));
        server.start();
        var port = ((ServerConnector) server.getConnectors()[0]).getLocalPort();
        System.out.println("{\"http\": \"http://127.0.0.1:" + port + "\"}");
        System.in.transferTo(OutputStream.nullOutputStream());
        System.exit(0);
    }

    private static LocalDynamoDBRequestHandler inMemory() {
        var anyPort = 0;
        var inMemory = true;
        String databasePath = null;
        var oneDatabaseForAllRegions = true;
        var delayTransientStatuses = false;
        return new LocalDynamoDBRequestHandler(
                anyPort, inMemory, databasePath, oneDatabaseForAllRegions, delayTransientStatuses);
    }
}
